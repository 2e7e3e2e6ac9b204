"""What events the code records, and which reactions answer them: read from the calls of ``emit``."""

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
Trees = dict[str, ast.Module]


def emitted(file: str, trees: Trees) -> Iterator[tuple[str, set[str]]]:
    """Yield each type that ``emit`` calls of a file may have, and the facts that stand beside it in the source."""
    for function in (node for node in ast.walk(trees[file]) if isinstance(node, Function)):
        callers = {file: trees[file]} if function.name.startswith("_") else trees
        for call in _calls(function, "emit"):
            facts = {one.arg for one in call.keywords if one.arg and one.arg != "reason"}
            yield from ((name, facts) for name in _texts(call.args[0], function, callers))


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


def reactions(tree: ast.Module) -> dict[str, list[str]]:
    """Return the functions under ``@reaction``, by the event type they answer."""
    found: dict[str, list[str]] = {}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    marks = [(node.name, mark) for node in functions for mark in node.decorator_list if isinstance(mark, ast.Call)]
    for name, mark in marks:
        for answered in mark.args if ast.unparse(mark.func) == "reaction" else ():
            found.setdefault(str(ast.literal_eval(answered)), []).append(name)
    return found
