"""Plugins are found by name and imported when used."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.kernel.errors import NotFound
from loopwright.kernel.plugins import BUILT_IN, load_plugin, plugin_names
from loopwright.rooms import import_rooms

import_rooms()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, named in BUILT_IN.items() for name in named])
def test_every_plugin_that_ships_can_be_loaded(kind: str, name: str) -> None:
    assert name in plugin_names(kind)
    if (kind, name) != ("flavours", "sklearn"):  # needs its extra
        assert load_plugin(kind, name) is not None


def test_an_unknown_plugin_names_the_known() -> None:
    with pytest.raises(NotFound, match="lightgbm"):
        load_plugin("flavours", "pickle")


def test_a_name_cannot_choose_a_module() -> None:
    for name in ("os:system", "loopwright.store.engine:Database", "../x"):
        with pytest.raises(NotFound):
            load_plugin("flavours", name)


def test_registering_imports_nothing() -> None:
    heavy = {"lightgbm", "sklearn", "obstore", "pandas"}
    code = f"import sys, loopwright.rooms as r; r.import_rooms(); print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


SOURCE = Path("src")
ASKING = {"load_plugin", "plugin_names", "plugged_names"}


def asked_kinds(tree: ast.Module) -> list[str]:
    """Return how a module writes the kinds of plugins that it asks for."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) in ASKING]


ALONE = """
import importlib, json, os, sys
asked, unknown = json.load(sys.stdin), []
for name, kinds in asked.items():
    if os.fork() == 0:  # each in a process that has imported nothing yet
        module = importlib.import_module(name)
        from loopwright.kernel.plugins import BUILT_IN
        os._exit(any(eval(kind, vars(module)) not in BUILT_IN for kind in kinds))
    unknown += [name] if os.wait()[1] else []
print(*unknown)
"""


def test_whoever_asks_for_a_plugin_has_imported_who_knows_those_of_the_platform() -> None:
    """A process imports what it needs of a room, so that no other module has done it."""
    asking = {path: asked_kinds(ast.parse(path.read_text())) for path in SOURCE.glob("loopwright/*/**/*.py")}
    del asking[SOURCE / "loopwright/kernel/plugins.py"]
    named = {".".join(path.relative_to(SOURCE).with_suffix("").parts): kinds for path, kinds in asking.items() if kinds}
    assert len(named) > 20
    told = subprocess.run(
        [sys.executable, "-c", ALONE], input=json.dumps(named), capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "", told.stderr
