"""What is said of walls before user code runs."""

import pytest

from loopwright.config import Walls
from loopwright.kernel.errors import Unavailable
from loopwright.wire import system_calls, walls
from loopwright.wire.enclosing import check_walls


@pytest.mark.parametrize(
    ("version", "can_filter", "mode", "told"),
    [
        (1, True, "on", ""),
        (6, True, "strict", ""),
        (0, True, "on", "no Landlock"),
        (6, False, "on", "no system calls are filtered"),
    ],
)
def test_what_does_not_hold_is_said(
    monkeypatch: pytest.MonkeyPatch, version: int, can_filter: bool, mode: Walls, told: str
) -> None:
    monkeypatch.setattr(walls, "landlock_version", lambda: version)
    monkeypatch.setattr(system_calls, "can_filter", lambda: can_filter)
    assert told in check_walls(mode)
    assert bool(check_walls(mode)) == bool(told)


def test_walls_that_are_off_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "landlock_version", lambda: 6)
    assert "tokens and database" in check_walls("off")


@pytest.mark.parametrize(("version", "can_filter"), [(0, True), (6, False)])
def test_strict_does_not_start_without(monkeypatch: pytest.MonkeyPatch, version: int, can_filter: bool) -> None:
    monkeypatch.setattr(walls, "landlock_version", lambda: version)
    monkeypatch.setattr(system_calls, "can_filter", lambda: can_filter)
    with pytest.raises(Unavailable, match="strict walls cannot be raised"):
        check_walls("strict")
