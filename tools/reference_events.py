"""What events the code records, where, and which rules of the reactor answer them.

Types come from the structs that tell of them (``kernel.events.EVENT_TYPES``). Those that have none yet are read from
the calls of ``emit`` in the source.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from loopwright.kernel.events import EVENT_TYPES, Facts
from loopwright.loop.reactor import RULES

Function = ast.FunctionDef | ast.AsyncFunctionDef
Trees = dict[str, ast.Module]
"""File, as its path in the package -> what stands in it."""
_NOT_EMITTING = {"events.py", "ledgers.py", "__init__.py"}
_NOT_TELLING = {"read", "reaction", "event_type"}
_MODULE = re.compile(r"\b(?:\w+\.)+")


class EventType(NamedTuple):
    """One type of event: its facts as ``name: type``, the files that emit it, what it means, and the rules it meets."""

    name: str
    facts: list[str]
    files: list[str]
    meaning: str
    answers: list[str]


def event_types(package: Path) -> list[EventType]:
    """Return every type of event by name.

    Args:
        package: Folder of the sources, whose rooms are imported already.
    """
    trees = {path.relative_to(package).as_posix(): ast.parse(path.read_text("utf-8")) for path in package.rglob("*.py")}
    made_names = {file: _made_names(tree) for file, tree in trees.items()}
    by_text: dict[str, tuple[set[str], set[str]]] = {}
    for file in sorted(trees):
        for name, facts in _emitted_by_text(file, trees):
            known_facts, known_files = by_text.setdefault(name, (set(), set()))
            known_facts.update(facts)
            known_files.add(file)
    described = [
        EventType(
            name, _facts(kind), _emitters(kind, made_names) or _makers(kind, trees), _meaning(kind), _answers(name)
        )
        for name, kind in EVENT_TYPES.items()
        if kind.__module__.startswith("loopwright.")
    ]
    named = [
        EventType(name, sorted(facts), sorted(files), "", _answers(name))
        for name, (facts, files) in by_text.items()
        if name not in EVENT_TYPES
    ]
    return sorted(described + named)


def _facts(kind: type[Facts]) -> list[str]:
    return [f"{field.name}: {type_text(field.type)}" for field in msgspec.structs.fields(kind)]


def type_text(kind: Any) -> str:
    """Return a type as it is written, without modules.

    >>> type_text(list[Path]), type_text(int | None)
    ('list[Path]', 'int | None')
    """
    if isinstance(kind, type) and not get_args(kind):
        return kind.__name__
    return _MODULE.sub("", str(kind)).replace("'", '"')


def _meaning(kind: type[Facts]) -> str:
    return (inspect.getdoc(kind) or "").split("\n")[0]


def _answers(name: str) -> list[str]:
    return [rule for rule, _ in RULES.get(name, ())]


def _emitters(kind: type[Facts], made_names: dict[str, set[str]]) -> list[str]:
    """Return the files of a struct's room that make it; where it is read or answered it is only named."""
    room = kind.__module__.split(".")[1]
    inside = (file for file in made_names if file.startswith(f"{room}/") and Path(file).name not in _NOT_EMITTING)
    return sorted(file for file in inside if kind.__name__ in made_names[file])


def _makers(kind: type[Facts], trees: Trees) -> list[str]:
    """Return the files that make a struct which its own room only declares."""
    return sorted(
        file
        for file, tree in trees.items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _called(call) == kind.__name__
    )


def _called(call: ast.Call) -> str:
    """Return the last name of what is called, empty where it has none."""
    func = call.func
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


def _made_names(tree: ast.Module) -> set[str]:
    """Return the names a file uses as values: in calls or tables, not as annotations nor as what is read."""
    read = {
        id(part)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _called(call) in _NOT_TELLING
        for argument in call.args
        for part in ast.walk(argument)
    }
    annotations = {id(part) for hint in _annotations(tree) for part in ast.walk(hint)}
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in read | annotations
    }


def _annotations(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, Function) and node.returns is not None:
            yield node.returns


# --- types that are texts in the source ---


def _emitted_by_text(file: str, trees: Trees) -> Iterator[tuple[str, set[str]]]:
    """Yield each type that ``emit`` calls of a file may have, and the facts that stand beside it in the source."""
    for function in (node for node in ast.walk(trees[file]) if isinstance(node, Function)):
        callers = {file: trees[file]} if function.name.startswith("_") else trees
        for call in _calls(function, "emit"):
            facts = {keyword.arg for keyword in call.keywords if keyword.arg and keyword.arg != "reason"}
            yield from ((name, facts) for name in _texts(call.args[0], function, callers))


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if _called(call) == name]


def _texts(value: ast.expr, function: Function, trees: Trees) -> list[str]:
    """Return the texts an expression may be: constants, choices, or what callers of the function hand in."""
    if isinstance(value, ast.Constant):
        return [str(value.value)]
    if isinstance(value, ast.IfExp):
        return [*_texts(value.body, function, trees), *_texts(value.orelse, function, trees)]
    if isinstance(value, ast.FormattedValue):
        return _texts(value.value, function, trees)
    if isinstance(value, ast.JoinedStr):
        texts = [""]
        for part in value.values:
            texts = [before + after for before in texts for after in _texts(part, function, trees)]
        return texts
    if isinstance(value, ast.Name):
        sets = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
        assigned = [node.value for node in sets if ast.unparse(node.targets[0]) == value.id]
        if assigned:
            return [text for each in assigned for text in _texts(each, function, trees)]
        return _handed_in(value.id, function, trees)
    return []


def _handed_in(name: str, function: Function, trees: Trees) -> list[str]:
    """Return the constants that calls of a function give one of its parameters, or the choices of its annotation."""
    taken = [*function.args.args, *function.args.kwonlyargs]
    kind = next((parameter.annotation for parameter in taken if parameter.arg == name), None)
    if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Literal":
        choices = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        return [str(ast.literal_eval(choice)) for choice in choices]
    given = set()
    for call in (each for tree in trees.values() for each in _calls(tree, function.name)):
        arguments = {keyword.arg: keyword.value for keyword in call.keywords}
        arguments.update(zip((parameter.arg for parameter in function.args.args), call.args, strict=False))
        if isinstance(arguments.get(name), ast.Constant):
            given.add(str(ast.literal_eval(arguments[name])))
    return sorted(given)
