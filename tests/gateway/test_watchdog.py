"""The watchdog: what ran when the gateway crashed is named, and a gateway that does not turn is ended."""

import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.gateway.releases.bars import Bars
from loopwright.gateway.releases.files import model_key
from loopwright.gateway.watchdog import Watchdog
from loopwright.registry import InputColumn, Signature
from loopwright.serving import Release, Variant

PROGRAM = """
import asyncio, os, sys, time
from pathlib import Path
from loopwright.gateway import watchdog
from loopwright.gateway.releases.bars import Bars
from loopwright.gateway.marks import PageMarker

root = Path(sys.argv[1])
watchdog.DEADMAN_S = 0.5
dog = watchdog.Watchdog(root)
dog.learn(Bars(root / "barred.json"))
dog.guard()
PageMarker(dog.page, [bytes.fromhex(sys.argv[3])]).enter(0)

async def main():
    dog.watch()
    await asyncio.sleep(0.1)
    if sys.argv[2] == "abort":
        os.abort()
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), 9)
    time.sleep(60)

asyncio.run(main())
"""


def release() -> Release:
    signature = Signature([InputColumn("x", "number")], "binary", [])
    return Release(
        1,
        "flights",
        "late",
        1,
        1,
        "binary",
        [Variant("champion", "late", 1, "test", [], signature, 1.0)],
        {},
        "",
        [],
        "test",
        0,
        0,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("how", "is_barred"), [("abort", True), ("hang", True), ("kill", False)])
def test_what_ran_when_the_gateway_crashed_is_kept_out_of_it(tmp_path: Path, how: str, is_barred: bool) -> None:
    key = model_key(release().variants[0])
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path), how, key], timeout=50, check=False)
    assert ended.returncode != 0
    bars = Bars(tmp_path / "barred.json")
    Watchdog(tmp_path).learn(bars)
    assert bars.may_enter_gateway(release()) is not is_barred
    bars.check(release())
    again = Bars(tmp_path / "barred.json")
    assert again.may_enter_gateway(release()) is not is_barred
    assert (tmp_path / "crash.last").exists() is is_barred
