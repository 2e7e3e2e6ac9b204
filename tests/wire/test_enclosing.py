"""What is said of walls before user code runs."""

import pytest

from loopwright.config import Walls
from loopwright.kernel.errors import Unavailable
from loopwright.wire import walls
from loopwright.wire.enclosing import check_walls


@pytest.mark.parametrize(("version", "mode", "told"), [(1, "on", ""), (6, "strict", ""), (0, "on", "no Landlock")])
def test_what_does_not_hold_is_said(monkeypatch: pytest.MonkeyPatch, version: int, mode: Walls, told: str) -> None:
    monkeypatch.setattr(walls, "landlock_version", lambda: version)
    monkeypatch.setattr(walls, "can_close_network", lambda: True)
    assert told in check_walls(mode)
    assert bool(check_walls(mode)) == bool(told)


def test_walls_that_are_off_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "landlock_version", lambda: 6)
    assert "tokens and database" in check_walls("off")


@pytest.mark.parametrize(("version", "can_close"), [(0, True), (6, False)])
def test_strict_does_not_start_without(monkeypatch: pytest.MonkeyPatch, version: int, can_close: bool) -> None:
    monkeypatch.setattr(walls, "landlock_version", lambda: version)
    monkeypatch.setattr(walls, "can_close_network", lambda: can_close)
    with pytest.raises(Unavailable, match="strict walls cannot be raised"):
        check_walls("strict")
