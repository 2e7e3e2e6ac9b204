"""Where the code records which events: read from where their structs are made, or from the calls of ``emit``."""

import ast
from collections.abc import Iterator

from loopwright.kernel.events import EVENT_TYPES, Facts

_READERS = {"reaction", "read", "event_type"}
"""Calls that name a struct without making an event of it."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Trees = dict[str, ast.Module]


def emitted(file: str, trees: Trees) -> Iterator[tuple[str, set[str]]]:
    """Yield each type that ``emit`` calls of a file may have, and the facts that stand beside it in the source."""
    for function in (node for node in ast.walk(trees[file]) if isinstance(node, Function)):
        callers = {file: trees[file]} if function.name.startswith("_") else trees
        for call in _calls(function, "emit"):
            facts = {one.arg for one in call.keywords if one.arg and one.arg != "reason"}
            names = _texts(call.args[0], function, callers)
            yield from ((name, facts) for name in names if not name.startswith("{"))  # a struct tells of itself


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func).rpartition(".")[2] == name]


def _texts(value: ast.expr, function: Function, trees: Trees) -> list[str]:
    """Return the texts an expression may be: constants, choices, or what callers of the function hand in."""
    if isinstance(value, ast.Constant):
        return [str(value.value)]
    if isinstance(value, ast.IfExp):
        return [*_texts(value.body, function, trees), *_texts(value.orelse, function, trees)]
    if isinstance(value, ast.FormattedValue):
        return _texts(value.value, function, trees)
    if isinstance(value, ast.JoinedStr):
        found = [""]
        for part in value.values:
            found = [before + after for before in found for after in _texts(part, function, trees)]
        return found
    if isinstance(value, ast.Name):
        sets = [one for one in ast.walk(function) if isinstance(one, ast.Assign)]
        found = [
            t for one in sets if ast.unparse(one.targets[0]) == value.id for t in _texts(one.value, function, trees)
        ]
        return found or _handed_in(value.id, function, trees) or ["{" + value.id + "}"]
    return ["{" + ast.unparse(value) + "}"]


def _handed_in(name: str, function: Function, trees: Trees) -> list[str]:
    """Return the constants that calls of a function give one of its parameters, or the choices of its annotation."""
    taken = [*function.args.args, *function.args.kwonlyargs]
    kind = next((one.annotation for one in taken if one.arg == name), None)
    if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Literal":
        choices = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        return [str(ast.literal_eval(choice)) for choice in choices]
    found = set()
    for call in (one for tree in trees.values() for one in _calls(tree, function.name)):
        given = {one.arg: one.value for one in call.keywords}
        given.update(zip((one.arg for one in function.args.args), call.args, strict=False))
        if isinstance(given.get(name), ast.Constant):
            found.add(str(ast.literal_eval(given[name])))
    return sorted(found)


def recorded_in(trees: Trees) -> dict[type[Facts], set[str]]:
    """Return the files in which each of our structs is made, or handed to what makes it: files of its own room."""
    named = {file: set(_named_in_calls(tree)) for file, tree in trees.items()}
    return {
        kind: {file for file, names in named.items() if kind.__name__ in names and file.startswith(f"{_room(kind)}/")}
        for kind in EVENT_TYPES.values()
        if kind.__module__.startswith("loopwright.")
    }


def _room(kind: type[Facts]) -> str:
    return kind.__module__.split(".")[1]


def _named_in_calls(tree: ast.AST) -> Iterator[str]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = _last_name(call.func)
        if called not in _READERS:
            yield called
            yield from (_last_name(one) for one in call.args if isinstance(one, ast.Name | ast.Attribute))


def _last_name(value: ast.expr) -> str:
    return value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
