"""Words: names that say nothing, notes to self, and paths of one machine."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.findings import Finding, kept_files, python_files, report

FOLDERS = ("src", "tests", "tools", "benchmarks", "examples")
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
EMPTY_VERBS = {"handle", "manage", "process"}
NOTE = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.:/*-])/(?:root|home|work|Users)/[\w.]")
Function = ast.FunctionDef | ast.AsyncFunctionDef
LARGEST_TEXT_BYTES = 1_000_000
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def parts(name: str) -> list[str]:
    """Return the words of a name in lower case.

    >>> parts("HTTPManager"), parts("date_utils")
    (['http', 'manager'], ['date', 'utils'])
    """
    return [part.lower() for part in _PART.findall(name)]


def _says_nothing(path: str, line: int, kind: str, name: str) -> Iterator[Finding]:
    for word in EMPTY_WORDS.intersection(parts(name)):
        yield Finding(path, line, f"{kind} {name} is called '{word}'", "the word fits anything", "name what it does")


def _of_function(path: str, node: Function, may_be_given: bool) -> Iterator[Finding]:
    yield from _says_nothing(path, node.lineno, "function", node.name)
    words = parts(node.name)
    if path.startswith("src/") and not may_be_given and words and words[0] in EMPTY_VERBS:
        rule = f"function {node.name} begins with '{words[0]}'"
        yield Finding(path, node.lineno, rule, "the verb fits anything", "use the verb of the change it makes")


def _of_tree(path: str, tree: ast.Module) -> Iterator[Finding]:
    for folder_or_file in Path(path).with_suffix("").parts[1:]:
        yield from _says_nothing(path, 1, "module", folder_or_file)
    # The base class of another library may have chosen a method's name.
    given = {id(item) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases for item in node.body}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield from _of_function(path, node, id(node) in given)
        elif isinstance(node, ast.ClassDef):
            yield from _says_nothing(path, node.lineno, "class", node.name)
    for line in _data_variables(tree):
        why, do = "everything is data", "say what it holds: rows, body, payload, frame"
        yield Finding(path, line, "variable named data", why, do)


def _data_variables(tree: ast.Module) -> Iterator[int]:
    # A class field may be called so: CloudEvents and others fix the name.
    fields = {
        id(item.target if isinstance(item, ast.AnnAssign) else target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign | ast.Assign)
        for target in (item.targets if isinstance(item, ast.Assign) else [item.target])
    }
    for node in ast.walk(tree):
        is_set = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "data"
        if (is_set and id(node) not in fields) or (isinstance(node, ast.arg) and node.arg == "data"):
            yield getattr(node, "lineno", 1)


def _of_text(path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        if note := NOTE.search(line):
            why, do = "a note to self is read by nobody", "do it now, or write it into docs/status.md"
            yield Finding(path, number, note[0], why, do)
        if MACHINE_PATH.search(line):
            why, do = "another machine does not have this path", "make it relative, or take it as an argument"
            yield Finding(path, number, "path of one machine", why, do)


def find(root: Path) -> Iterator[Finding]:
    """Yield each name, note and path that does not belong."""
    for path, tree in python_files(root, *FOLDERS):
        yield from _of_tree(path, tree)
    for file in kept_files(root):
        path = file.relative_to(root).as_posix()
        content = file.read_bytes()
        if "/vendor/" not in path and len(content) <= LARGEST_TEXT_BYTES and b"\0" not in content:
            yield from _of_text(path, content.decode("utf-8", "replace"))


if __name__ == "__main__":
    sys.exit(report("words", find))
