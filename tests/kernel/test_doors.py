"""Front doors that import what stands behind them late."""

import sys
from pathlib import Path

import pytest

from loopwright.kernel.doors import later


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def build(house: Path, name: str, door: str) -> None:
    room = house / name
    room.mkdir()
    (room / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\nfrom loopwright.kernel.doors import later\n"
        f"if TYPE_CHECKING:\n    {door}\n__getattr__ = later(__name__)\n"
    )
    (room / "shelf.py").write_text("def take():\n    return 'taken'\ndef shelf():\n    return 'hidden'\n")


def test_a_module_is_imported_when_one_of_its_names_is_first_asked_for(house: Path) -> None:
    build(house, "room_a", "from room_a.shelf import take as taken")
    import room_a  # type: ignore[import-not-found]

    assert "room_a.shelf" not in sys.modules
    assert room_a.taken() == "taken"
    assert "room_a.shelf" in sys.modules
    with pytest.raises(AttributeError, match="no attribute 'take'"):
        _ = room_a.take


def test_a_module_can_be_offered_itself(house: Path) -> None:
    build(house, "room_b", "from room_b import shelf")
    import room_b  # type: ignore[import-not-found]

    assert room_b.shelf.take() == "taken"


def test_a_name_that_its_module_would_hide_is_refused(house: Path) -> None:
    """``from package import name`` imports the module on the way, which then is what the name stands for."""
    build(house, "room_c", "from room_c.shelf import shelf")
    with pytest.raises(ValueError, match="shelf"):
        later("room_c")("shelf")
