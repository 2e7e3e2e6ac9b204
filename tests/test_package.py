"""The package as a stranger meets it: few names, a fast import, one version."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import loopwright

ROOT = Path(__file__).parents[1]
MOST_MODULES = 60
"""Modules that ``import loopwright`` may load, our own and Python's; it is 31 that take 20 ms."""
MOST_MODULES_OF_HELP = 130
MOST_NAMES = 40
LOADED = "print(*sorted(set(sys.modules) - before))"


def modules_loaded_by(code: str) -> list[str]:
    """Return what code imports in a fresh interpreter: how many modules, not seconds, for those tell of the machine."""
    script = f"import sys; before = set(sys.modules)\n{code}\n{LOADED}"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return answer.stdout.splitlines()[-1].split()


def strangers(modules: list[str]) -> set[str]:
    """Return the packages among modules that come neither with Python nor from here."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"loopwright"}


def test_exports_are_few_and_all_exist() -> None:
    assert len(loopwright.__all__) <= MOST_NAMES
    assert len(set(loopwright.__all__)) == len(loopwright.__all__)
    missing = [name for name in loopwright.__all__ if not hasattr(loopwright, name)]
    assert not missing


def test_one_version() -> None:
    assert loopwright.__version__ == metadata.version("loopwright")


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/install.md"])
def test_the_pythons_that_are_promised_are_those_that_make_proves(page: str) -> None:
    [proven] = re.findall(r"^PYTHONS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    *first, last = proven.split()
    [promise] = re.findall(r"Python (3\.[\d., or]*\d)", (ROOT / page).read_text())
    assert promise == f"{', '.join(first)} or {last}"
    assert metadata.metadata("loopwright")["Requires-Python"] == f">={first[0]}"


def test_import_loads_little_and_nothing_of_others() -> None:
    modules = modules_loaded_by("import loopwright")
    assert len(modules) <= MOST_MODULES
    assert strangers(modules) == set()


def test_help_loads_little() -> None:
    modules = modules_loaded_by(
        "import contextlib, io; sys.argv = ['loopwright', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    import loopwright.cli; loopwright.cli.main()"
    )
    assert len(modules) <= MOST_MODULES_OF_HELP
    assert strangers(modules) == {"click"}


@pytest.mark.parametrize(
    "code", ["import loopwright.server.process, loopwright.ui.routes", "import loopwright.gateway.process"]
)
def test_what_idles_holds_no_library_that_computes(code: str) -> None:
    """A worker does: it is there to compute."""
    modules = modules_loaded_by(code)
    assert not strangers(modules) & {"polars", "pandas", "pyarrow", "scipy", "lightgbm", "sklearn"}


@pytest.mark.parametrize("process", ["server", "worker", "gateway"])
def test_what_idles_brings_no_library_that_it_may_never_need(process: str) -> None:
    """A driver of the database that it does not talk to; a client with colours, for a web hook."""
    assert not strangers(modules_loaded_by(f"import loopwright.{process}.process")) & {"psycopg", "httpx", "rich"}


def test_a_project_file_is_read_without_a_database_a_frame_or_a_wire() -> None:
    """Every child that runs what it declares reads it anew."""
    modules = modules_loaded_by("import loopwright as lw; lw.Project")
    assert not strangers(modules) & {"sqlalchemy", "polars", "numpy", "urllib3", "pathspec"}


@pytest.mark.parametrize("child", ["pipelines.executors.child_main", "gateway.children.nursery_main"])
def test_a_child_that_runs_user_code_starts_without_a_database(child: str) -> None:
    assert not strangers(modules_loaded_by(f"import loopwright.{child}")) & {"sqlalchemy", "polars", "urllib3"}


DECLARED = """
import importlib, pkgutil
import loopwright, loopwright.rooms
loopwright.rooms.import_rooms("tables", "jobs")
from loopwright.governance import books
from loopwright.kernel import events, verbs
from loopwright.loop.engine import reactor
from loopwright.store import timers, work
known = [*(verbs.VERBS, events.EVENT_TYPES, work.KINDS, work.JOBS, timers.PLANNERS, books.LEDGERS, books._UNMAKING)]
known += [reactor.RULES, reactor.CONDITIONS]
before = [set(registry) for registry in known]
for module in pkgutil.walk_packages(loopwright.__path__, "loopwright."):
    if not module.name.endswith("__main__") and ".migrations" not in module.name:
        importlib.import_module(module.name)
print(*(f"{name}" for registry, names in zip(known, before) for name in set(registry) - names))
"""


def test_the_rooms_name_every_module_that_declares_something() -> None:
    """A verb in a module that nobody names in ``rooms.py`` would be known or not by who imported what before."""
    answer = subprocess.run([sys.executable, "-c", DECLARED], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
