"""What events the code records, where, and which rules of the reactor answer them.

Types come from the structs that tell of them (``kernel.events.EVENT_TYPES``).
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from loopwright.kernel.events import EVENT_TYPES, Facts
from loopwright.loop.engine.reactor import RULES

Function = ast.FunctionDef | ast.AsyncFunctionDef
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
    calls = {file: _calls(tree) for file, tree in trees.items()}
    return sorted(
        EventType(
            name, _facts(kind), _emitters(kind, made_names) or _makers(kind, calls), _meaning(kind), _answers(name)
        )
        for name, kind in EVENT_TYPES.items()
        if kind.__module__.startswith("loopwright.")
    )


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


def _makers(kind: type[Facts], calls: dict[str, set[str]]) -> list[str]:
    """Return the files that make a struct which its own room only declares."""
    return sorted(file for file in calls if kind.__name__ in calls[file])


def _calls(tree: ast.Module) -> set[str]:
    return {_called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}


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
