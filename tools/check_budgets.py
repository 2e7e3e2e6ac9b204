"""Budgets: length of files and functions, depth of nesting, width of classes."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.findings import Finding, python_files, report

FOLDERS = ("src", "tests", "tools", "benchmarks", "examples")
FILE_WARNS, FILE_FAILS = 400, 600
FUNCTION_FAILS, FUNCTION_P95 = 60, 35
NESTING_FAILS = 3
METHODS_FAIL = 12
Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


def length(function: Function) -> int:
    """Return a function's lines from ``def`` to its end, the docstring not counted."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Return the deepest block inside a node; ``elif`` stands beside its ``if``, an inner function starts anew."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        is_block = isinstance(child, BLOCKS) and not is_elif
        deepest = max(deepest, nesting(child, depth + is_block))
    return deepest


def _of_function(path: str, function: Function) -> Iterator[Finding]:
    if (lines := length(function)) > FUNCTION_FAILS:
        rule = f"{function.name} has {lines} lines, allowed {FUNCTION_FAILS}"
        yield Finding(path, function.lineno, rule, "a function is read in one view", "name its parts")
    if (depth := nesting(function)) > NESTING_FAILS:
        rule = f"{function.name} nests {depth} deep, allowed {NESTING_FAILS}"
        do = "return early, or name the inner block as a function"
        yield Finding(path, function.lineno, rule, "each level is a condition to keep in mind", do)


def _of_class(path: str, node: ast.ClassDef) -> Iterator[Finding]:
    public = {item.name for item in node.body if isinstance(item, Function) and not item.name.startswith("_")}
    if len(public) > METHODS_FAIL:
        rule = f"{node.name} has {len(public)} public methods, allowed {METHODS_FAIL}"
        yield Finding(path, node.lineno, rule, "a wide class is several nouns", "give each noun its own class")


def _of_file(path: str, tree: ast.Module, lines: int) -> Iterator[Finding]:
    if lines > FILE_WARNS:
        is_warning = lines <= FILE_FAILS
        rule = f"{lines} lines, {'warns at' if is_warning else 'allowed'} {FILE_WARNS if is_warning else FILE_FAILS}"
        yield Finding(path, 1, rule, "one noun a file", "split by noun, not by length", is_warning)
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield from _of_function(path, node)
        elif isinstance(node, ast.ClassDef):
            yield from _of_class(path, node)


def find(root: Path) -> Iterator[Finding]:
    """Yield each budget that is overdrawn."""
    lengths: list[int] = []
    for path, tree in python_files(root, *FOLDERS):
        yield from _of_file(path, tree, len((root / path).read_text("utf-8").splitlines()))
        if path.startswith("src/"):
            lengths += [length(node) for node in ast.walk(tree) if isinstance(node, Function)]
    lengths.sort()
    if lengths and (p95 := lengths[int(0.95 * (len(lengths) - 1))]) > FUNCTION_P95:
        rule = f"1 function in 20 has {p95} lines or more, allowed {FUNCTION_P95}"
        yield Finding("src", 1, rule, "long functions are to stay rare", "name the parts of the longest ones")


if __name__ == "__main__":
    sys.exit(report("budgets", find))
