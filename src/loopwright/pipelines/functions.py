"""Naming user functions: where one is found again, what its digest covers, how a notebook's cell becomes a module.

The digest covers the function's syntax tree and those of the project's functions and constants it names, transitively,
through every import of the project's own modules. Docstrings, comments, layout and the project's marks do not count.
"""

import ast
import builtins
import inspect
import json
import site
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from loopwright.kernel.documents import digest_of
from loopwright.kernel.errors import InvalidInput

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_DECLARING = {"on_request", "pipeline", "step", "train"}
"""Methods of a project that mark a function."""


class Place(msgspec.Struct, frozen=True):
    """Where a function is found again: a module of the packed code or of the environment."""

    module: str
    qualname: str
    file: str
    is_captured: bool = False


def locate(function: Callable[..., Any], folder: Path) -> Place:
    """Return where a function is found again.

    Raises:
        InvalidInput: It is a lambda, defined inside another function, or lies outside folder and environment.
    """
    function = inspect.unwrap(function)
    qualname = getattr(function, "__qualname__", repr(function))
    if "<lambda>" in qualname or "<locals>" in qualname or not inspect.isfunction(function):
        raise InvalidInput(
            "this function cannot be found again by its name",
            field="function",
            value=qualname,
            rule="a function defined with def at the top level of a module",
            next_step="give it a name and move it out of the function around it",
        )
    file = Path(function.__code__.co_filename)
    if file.is_file() and file.resolve().is_relative_to(folder.resolve()):
        return Place(_module_name(file.resolve().relative_to(folder.resolve())), qualname, str(file.resolve()))
    if function.__module__ == "__main__" or not file.is_file():
        return Place(capture_module(function)[0], qualname, "", is_captured=True)
    if any(file.resolve().is_relative_to(path) for path in _installed()):
        return Place(function.__module__, qualname, str(file.resolve()))
    raise InvalidInput(
        f"{qualname} lies outside the project's folder",
        field="function",
        value=str(file),
        rule=f"in {folder} or in an installed package",
        next_step="move the file into the folder, or install it as a package",
    )


def function_digest(function: Callable[..., Any], folder: Path) -> str:
    """Return the digest of a function and of the project's code that it names."""
    place, reader = locate(function, folder), _Reader(folder.resolve())
    if place.is_captured:
        name, source = capture_module(function)
        module = _Module(folder.resolve() / f"{name}.py", source.encode())
        reader.follow_imports(module, module.tree)
        return digest_of([sorted(_dump(node) for node in module.tree.body), sorted(reader.seen.items())])
    reader.follow(Path(place.file), place.qualname.split(".")[0])
    return digest_of([place.qualname, sorted(reader.seen.items())])


class _Import(NamedTuple):
    """``from source import name as bound``; ``name`` is None for ``import source``, ``*`` for all of its names."""

    bound: str
    source: str
    name: str | None
    level: int


class _Module:
    """The top level of one file: definitions, constants and imports by name."""

    def __init__(self, file: Path, source: bytes) -> None:
        self.file = file
        self.tree = ast.parse(source, str(file))
        self.nodes: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, list[_Import]] = {}
        self._read(self.tree)

    def _read(self, node: ast.AST) -> None:
        if isinstance(node, Definition):
            self.nodes.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for one in _imports(node):
                self.imports.setdefault(one.bound, []).append(one)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            # Also what is assigned to in part, as in ``LIMITS["low"] = 3``.
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}:
                self.nodes.setdefault(name, []).append(node)
        elif isinstance(node, ast.Module | ast.If | ast.Try | ast.ExceptHandler | ast.With | ast.For | ast.While):
            for child in ast.iter_child_nodes(node):
                self._read(child)


class _Reader:
    """Collects what a function names, transitively, inside one folder."""

    def __init__(self, folder: Path) -> None:
        self.seen: dict[str, str] = {}
        self._folder = folder
        self._modules: dict[Path, _Module] = {}
        self._followed: set[tuple[Path, str]] = set()

    def follow(self, file: Path, name: str) -> None:
        """Add one top-level name of a file and everything it names; ``*`` adds the whole file."""
        if (file, name) in self._followed:
            return
        self._followed.add((file, name))
        if file not in self._modules:
            self._modules[file] = _Module(file, file.read_bytes())
        module = self._modules[file]
        if name == "*":
            self._keep(file, name, _dump(module.tree))
            self.follow_imports(module, module.tree)
        elif name in module.nodes or name in module.imports:
            self._follow_name(module, name)
        else:
            for star in module.imports.get("*", []):
                if (target := self._find(module, star, star.source)) is not None:
                    self.follow(target, name)

    def _follow_name(self, module: _Module, name: str) -> None:
        nodes, imports = module.nodes.get(name, []), module.imports.get(name, [])
        self._keep(module.file, name, "\n".join([*map(_dump, nodes), *map(str, imports)]))
        for one in imports:
            self._follow_import(module, one)
        for node in nodes:
            self.follow_imports(module, node)
            for used in _names(node):
                self.follow(module.file, used)

    def _keep(self, file: Path, name: str, text: str) -> None:
        # The file's place inside the folder, so that the same project elsewhere has the same digest.
        place = file.relative_to(self._folder) if file.is_relative_to(self._folder) else file.name
        self.seen[f"{place}:{name}"] = text

    def follow_imports(self, module: _Module, node: ast.AST) -> None:
        """Add what is imported anywhere inside a node."""
        for one in _imports(node):
            self._follow_import(module, one)

    def _follow_import(self, module: _Module, one: _Import) -> None:
        """Add a name of the project; of a whole module it cannot be told which names are used, so all count."""
        if one.name is None:
            parts = one.source.split(".")
            wholes = [self._find(module, one, ".".join(parts[: index + 1])) for index in range(len(parts))]
        else:
            wholes = [self._find(module, one, f"{one.source}.{one.name}")]
        target = self._find(module, one, one.source)
        if target is not None and one.name is not None and wholes == [None]:
            self.follow(target, one.name)
        for whole in wholes:
            if whole is not None:
                self.follow(whole, "*")

    def _find(self, module: _Module, one: _Import, dotted: str) -> Path | None:
        """Return the project's file of a module named in an import, or None for one of the environment."""
        parts = [part for part in dotted.split(".") if part]
        for root in [module.file.parents[one.level - 1]] if one.level else [self._folder, self._folder / "src"]:
            path = root.joinpath(*parts)
            for file in (path.with_suffix(".py") if parts else path / "__init__.py", path / "__init__.py"):
                if file.is_file():
                    return file
        return None


def _imports(node: ast.AST) -> list[_Import]:
    """Return every import anywhere inside a node."""
    found = []
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            found += [_Import(name.asname or name.name.split(".")[0], name.name, None, 0) for name in one.names]
        elif isinstance(one, ast.ImportFrom):
            found += [_Import(name.asname or name.name, one.module or "", name.name, one.level) for name in one.names]
    return found


def capture_module(function: Callable[..., Any]) -> tuple[str, str]:
    """Return name and source of a module made of a notebook's function and what it names.

    Raises:
        InvalidInput: The source is not known, or it names a value that cannot be written as source.
    """
    parts: dict[str, str] = {}
    imports: set[str] = set()
    _capture(function, parts, imports)
    lines = ["from __future__ import annotations", *sorted(imports), *parts.values()]
    source = "\n".join(lines) + "\n"
    return f"cell_{digest_of(source)[:12]}", source


def _capture(function: Callable[..., Any], parts: dict[str, str], imports: set[str]) -> None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        raise InvalidInput(
            f"the source of {function.__qualname__} is not known",
            field="function",
            value=function.__qualname__,
            rule="a function of a file or of a notebook's cell",
            next_step="write it into a .py file and apply that",
        ) from None
    node = tree.body[0]
    if not isinstance(node, Definition):
        raise InvalidInput("this is not a function", field="function", value=function.__qualname__)
    node.decorator_list = []
    parts[function.__qualname__] = ""
    for name in sorted(_names(node, with_annotations=False)):
        if name in function.__globals__ and name not in parts:
            _capture_value(name, function.__globals__[name], function, parts, imports)
    del parts[function.__qualname__]
    parts[function.__qualname__] = ast.unparse(node)


def _capture_value(
    name: str, value: Any, function: Callable[..., Any], parts: dict[str, str], imports: set[str]
) -> None:
    value = unwrap(value)
    if isinstance(value, ModuleType):
        imports.add(f"import {value.__name__} as {name}")
    elif inspect.isfunction(value) and value.__module__ == function.__module__:
        _capture(value, parts, imports)
    elif getattr(value, "__module__", None) and getattr(value, "__qualname__", "").isidentifier():
        imports.add(f"from {value.__module__} import {value.__qualname__} as {name}")
    else:
        try:
            parts[name] = f"{name} = {json.loads(json.dumps(value, allow_nan=False))!r}"
        except (TypeError, ValueError):
            raise InvalidInput(
                f"{function.__qualname__} names {name}, which cannot be written as source",
                field=name,
                value=value,
                rule="modules, functions, and constants of JSON",
                next_step="pass it as a param, or write the code into a .py file and apply that",
            ) from None


def unwrap(found: Any) -> Any:
    """Return the user's function behind a declared step, training or on-request feature."""
    while not inspect.isroutine(found) and inspect.isfunction(getattr(found, "function", None)):
        found = found.function
    return found


def _names(node: ast.AST, *, with_annotations: bool = True) -> set[str]:
    """Return the names that a definition reads, built-ins left out."""
    found: set[str] = set()
    waiting: list[ast.AST] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
            found.add(one.id)
        skipped: list[Any] = [mark for mark in getattr(one, "decorator_list", []) if _declares(mark)]
        if not with_annotations:
            skipped += [getattr(one, field, None) for field in ("annotation", "returns")]
        waiting += [child for child in ast.iter_child_nodes(one) if not any(child is left for left in skipped)]
    return found - set(dir(builtins))


def _dump(node: ast.AST) -> str:
    """Return the syntax tree as text, without positions, docstrings and what declares it."""
    for one in ast.walk(node):
        if isinstance(one, Definition):
            one.decorator_list = [mark for mark in one.decorator_list if not _declares(mark)]
        body = getattr(one, "body", None)
        if isinstance(one, Definition | ast.Module) and body and _is_text(body[0]):
            one.body = body[1:] or [ast.Pass()]
    return ast.dump(node)


def _declares(decorator: ast.expr) -> bool:
    """Say whether a decorator is one of a project's, as ``@p.train(...)``; any other changes what the function does."""
    mark = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(mark, ast.Attribute) and isinstance(mark.value, ast.Name) and mark.attr in _DECLARING


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _module_name(path: Path) -> str:
    parts = list(path.with_suffix("").parts)
    if parts[0] == "src" and len(parts) > 1:
        parts = parts[1:]
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


def _installed() -> list[Path]:
    found = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_paths()["stdlib"], sys.prefix]
    return [Path(place).resolve() for place in found] + [Path(__file__).resolve().parents[2]]
