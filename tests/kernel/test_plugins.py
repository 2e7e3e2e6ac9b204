"""Plugins are found by name and imported when used."""

import subprocess
import sys

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
