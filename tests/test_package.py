"""The package as a stranger meets it: few names, a fast import, one version."""

import subprocess
import sys
from importlib import metadata, util

import pytest

import loopwright

IMPORT_BUDGET_S = 0.100
HELP_BUDGET_S = 0.150
MOST_NAMES = 40
HEAVY = {"alembic", "lightgbm", "numpy", "pandas", "polars", "sklearn", "sqlalchemy", "starlette", "uvicorn"}


def best_of_five(script: str) -> float:
    """Return the seconds a script prints, in a fresh interpreter; the best run is the one nobody disturbed."""
    command = [sys.executable, "-c", script]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(run.stdout.splitlines()[-1]) for run in runs)


def test_exports_are_few_and_all_exist() -> None:
    assert len(loopwright.__all__) <= MOST_NAMES
    assert len(set(loopwright.__all__)) == len(loopwright.__all__)
    missing = [name for name in loopwright.__all__ if not hasattr(loopwright, name)]
    assert not missing


def test_one_version() -> None:
    assert loopwright.__version__ == metadata.version("loopwright")


def test_import_is_fast() -> None:
    script = "import time; began = time.perf_counter(); import loopwright; print(time.perf_counter() - began)"
    assert best_of_five(script) <= IMPORT_BUDGET_S


def test_import_loads_nothing_heavy() -> None:
    script = "import sys, loopwright; print(*{name.partition('.')[0] for name in sys.modules})"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(answer.stdout.split())


@pytest.mark.skipif(util.find_spec("loopwright.cli") is None, reason="there is no command line yet")
def test_help_is_fast() -> None:
    script = (
        "import contextlib, io, sys, time; began = time.perf_counter(); sys.argv = ['loopwright', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    import loopwright.cli; loopwright.cli.main()\n"
        "print(time.perf_counter() - began)"
    )
    assert best_of_five(script) <= HELP_BUDGET_S
