"""A function's digest changes when what it does changes, and only then; notebook cells become modules."""

import importlib.util
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loopwright.kernel.errors import InvalidInput
from loopwright.pipelines import packing
from loopwright.pipelines.functions import capture_module, function_digest, locate

PROJECT = {
    "flights.py": """
        import math
        import polars as pl
        from lib import delays
        from lib.delays import is_late as late
        from lib.marks import p
        LIMIT = 15
        UNUSED = 1

        @p.step(retries=1)
        def fit(rows, rate=0.1):
            '''Fit it.'''
            # a comment
            return late(rows, LIMIT), math.sqrt(2)

        def other(rows):
            return delays.mean(rows)
    """,
    "lib/__init__.py": "",
    "lib/delays.py": """
        from .marks import clip
        from .words import NAMES
        def is_late(rows, limit):
            return shift(rows) > limit
        @clip(5)
        def shift(rows):
            return rows + len(NAMES)
        def mean(rows):
            return rows
    """,
    "lib/marks.py": """
        def clip(limit):
            return lambda function: lambda rows: min(function(rows), limit)
        class p:
            def step(retries):
                return lambda function: function
    """,
    "lib/words.py": "NAMES = ['a', 'b']\nOTHER = 1\n",
}


class Folder:
    """A project's folder whose files can be edited and imported again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in PROJECT.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(textwrap.dedent(text).lstrip())

    def edit(self, name: str, before: str, after: str) -> None:
        path = self.folder / name
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))

    def digest(self, name: str = "fit") -> str:
        return function_digest(getattr(load(self.folder / "flights.py"), name), self.folder)


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("lib", "chain", "consts", "stars")]:
        del sys.modules[name]


def load(path: Path) -> ModuleType:
    forget()
    importlib.invalidate_caches()
    linecache.clearcache()
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location("any_name", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Folder(tmp_path)
    forget()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("flights.py", "'''Fit it.'''", "'''Fit it well.'''"),
        ("flights.py", "# a comment", "# another\n"),
        ("flights.py", "UNUSED = 1", "UNUSED = 2"),
        ("flights.py", "retries=1", "retries=2"),
        ("flights.py", "return delays.mean(rows)", "return delays.mean(rows) + 1"),
        ("lib/delays.py", "return rows\n", "return rows * 2\n"),
        ("lib/words.py", "OTHER = 1", "OTHER = 2"),
    ],
)
def test_what_does_not_matter_leaves_the_digest(project: Folder, name: str, before: str, after: str) -> None:
    digest = project.digest()
    project.edit(name, before, after)
    assert project.digest() == digest


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("flights.py", "rate=0.1", "rate=0.2"),
        ("flights.py", "LIMIT = 15", "LIMIT = 20"),
        ("flights.py", "sqrt(2)", "sqrt(3)"),
        ("lib/delays.py", "> limit", ">= limit"),
        ("lib/delays.py", "rows + len", "rows - len"),
        ("lib/words.py", "['a', 'b']", "['a']"),
        ("lib/delays.py", "@clip(5)", "@clip(50)"),
        ("lib/marks.py", "min(function", "max(function"),
    ],
)
def test_what_matters_changes_the_digest(project: Folder, name: str, before: str, after: str) -> None:
    digest = project.digest()
    project.edit(name, before, after)
    assert project.digest() != digest


def test_a_module_used_as_a_whole_counts_as_a_whole(project: Folder) -> None:
    digest = project.digest("other")
    project.edit("lib/delays.py", "> limit", ">= limit")
    assert project.digest("other") != digest


@pytest.fixture
def chain(project: Folder) -> Folder:
    """A function that reaches a constant through two modules, in every way of importing."""
    (project.folder / "flights.py").write_text(
        textwrap.dedent("""
        import chain
        import lib.words
        import lib.delays
        from stars import *
        LIMITS = {"high": 1}
        LIMITS["low"] = 0
        try:
            import fast
        except ImportError:
            fast = 0

        def whole():
            return chain.deep()
        def dotted():
            return lib.words.NAMES
        def star():
            return WIDTH
        def local():
            from chain import deep
            return deep()
        def part():
            return LIMITS
        def fallback():
            return fast
        """)
    )
    (project.folder / "chain.py").write_text("from consts import DEPTH\ndef deep():\n    return DEPTH\n")
    (project.folder / "stars.py").write_text("from consts import *\n")
    (project.folder / "consts.py").write_text("DEPTH = 5\nWIDTH = 7\n")
    return project


@pytest.mark.parametrize(
    ("function", "name", "before", "after"),
    [
        ("whole", "consts.py", "DEPTH = 5", "DEPTH = 6"),
        ("dotted", "lib/words.py", "['a', 'b']", "['a']"),
        ("dotted", "lib/__init__.py", "", "import lib.delays\n"),
        ("star", "consts.py", "WIDTH = 7", "WIDTH = 8"),
        ("local", "consts.py", "DEPTH = 5", "DEPTH = 6"),
        ("part", "flights.py", '["low"] = 0', '["low"] = 1'),
        ("part", "flights.py", '{"high": 1}', '{"high": 2}'),
        ("fallback", "flights.py", "fast = 0", "fast = 1"),
    ],
)
def test_imports_are_followed_to_their_end(chain: Folder, function: str, name: str, before: str, after: str) -> None:
    others = ["whole", "dotted", "star", "local", "part", "fallback"]
    digests = {one: chain.digest(one) for one in others}
    chain.edit(name, before, after)
    changed = {one for one in others if chain.digest(one) != digests[one]}
    assert changed == {function} | ({"whole", "local"} if name == "consts.py" and "DEPTH" in before else set())


def test_a_cells_function_counts_the_projects_modules(
    chain: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    function = cell("import chain\ndef fit(rows):\n    return chain.deep()\n")
    digest = function_digest(function, tmp_path)
    chain.edit("consts.py", "DEPTH = 5", "DEPTH = 6")
    assert function_digest(function, tmp_path) != digest


def test_the_name_comes_from_the_file_not_from_how_it_was_loaded(project: Folder, tmp_path: Path) -> None:
    module = load(tmp_path / "flights.py")
    ref = packing.code_ref(module.fit, tmp_path, "0" * 64)
    assert (ref.module, ref.qualname) == ("flights", "fit")


def test_functions_that_cannot_be_found_again_are_refused(tmp_path: Path) -> None:
    def inner() -> None: ...

    for function in (inner, lambda: None):
        with pytest.raises(InvalidInput, match="cannot be found again") as caught:
            locate(function, tmp_path)
        assert "move it out" in str(caught.value.next_step)
    with pytest.raises(InvalidInput, match="outside the project's folder"):
        locate(test_functions_that_cannot_be_found_again_are_refused, tmp_path)


def cell(source: str, **names: Any) -> Callable[..., Any]:
    """Run a notebook's cell as IPython does: its source is known to linecache under a made-up file name."""
    file = "<cell-1>"
    text = textwrap.dedent(source)
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space = {"__name__": "__main__", **names}
    exec(compile(text, file, "exec"), space)
    found: Callable[..., Any] = space["fit"]
    return found


def test_a_notebooks_function_travels_as_a_module(tmp_path: Path) -> None:
    function = cell(
        """
        import math as m
        from collections import Counter
        LIMITS = {"late": 15}
        def double(x):
            return 2 * x
        def fit(rows: Unknown) -> Unknown:
            return double(rows) + LIMITS["late"] + m.floor(1.5) + Counter("aa")["a"]
        """,
        Unknown=int,
    )
    module, source = capture_module(function)
    packed = packing.pack_project(tmp_path, [function])
    ref = packing.code_ref(function, tmp_path, "0" * 64)
    assert ref.module == module
    out = packing.unpack(packed, tmp_path / "out")
    assert load(out / f"{module}.py").fit(1) == function(1) == 20
    assert "Unknown = " not in source


def test_a_notebooks_function_that_names_a_live_object_is_refused(tmp_path: Path) -> None:
    function = cell("def fit(rows):\n    return handle.read()", handle=sys.stdin)
    with pytest.raises(InvalidInput, match="names handle, which cannot be written") as caught:
        packing.pack_project(tmp_path, [function])
    assert "pass it as a param" in str(caught.value.next_step)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def fit(rows):\n    return rows", space)
    with pytest.raises(InvalidInput, match="the source of fit is not known"):
        packing.pack_project(tmp_path, [space["fit"]])
