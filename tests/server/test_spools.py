"""Rows that were acknowledged and that nobody seals are told until a gateway has them, or runs there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopwright.governance import Dispatcher
from loopwright.kernel.clock import SECOND_US, FixedClock
from loopwright.kernel.errors import Unavailable
from loopwright.server.spools import SpoolWatch, untended
from loopwright.wire.folders import hold_folder


def segment(state_dir: Path, gateway: str, body: bytes, name: str = "000000000001.log") -> Path:
    """Put a file where a gateway has its segments."""
    file = state_dir / f"gateway-{gateway}" / "spool" / "flights" / "predictions" / "late" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    return file


def test_rows_that_nobody_seals_need_a_person_until_somebody_does(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock, tmp_path: Path
) -> None:
    def told() -> list[tuple[str, str, str]]:
        return [(one.kind, one.sentence, one.command) for one in call("loop.attention").needs]

    def watch() -> SpoolWatch:
        return SpoolWatch(tmp_path, dispatcher.database, wall)

    segment(tmp_path, "sealed", b"")
    left = segment(tmp_path, "a", b"rows")
    first = watch()
    first.look()
    assert told() == [], "a gateway that is started again is soon there"
    wall.at_us += 61 * SECOND_US
    first.look()
    [(kind, sentence, command)] = told()
    assert kind == "gateway"
    assert sentence.startswith(f"1 spool file waits in {tmp_path}/gateway-a: ")
    assert command == f"loopwright up --role gateway --state {tmp_path} --gateway-name a"
    since = call("loop.attention").needs[0].recorded_at
    wall.at_us += 240 * SECOND_US
    first.look()
    wall.at_us += 240 * SECOND_US
    next_server = watch()
    next_server.look()
    assert call("loop.attention").needs[0].recorded_at == since, "it lasts, whichever server looks"
    left.write_bytes(b"")
    next_server.look()
    assert told() == []


def test_a_gateway_that_runs_seals_its_own(tmp_path: Path) -> None:
    segment(tmp_path, "0", b"rows")
    segment(tmp_path, "1", b"rows", "000000000001.bad")
    assert [one.folder for one in untended(tmp_path)] == [f"{tmp_path}/gateway-0"], (
        "what was set aside no gateway seals"
    )
    with hold_folder(tmp_path / "gateway-0" / "lock", 0, lambda: Unavailable("taken")):
        assert untended(tmp_path) == []
