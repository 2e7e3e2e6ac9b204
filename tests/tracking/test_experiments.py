"""Experiments: counts of runs by state."""

from collections.abc import Callable
from typing import Any

from loopwright.kernel.clock import FixedClock


def test_experiments_count_their_runs(call: Callable[..., Any], wall: FixedClock) -> None:
    assert call("tracking.experiments") == []
    runs = [call("tracking.start_run", experiment=name) for name in ("late", "late", "late", "early")]
    call("tracking.finish_run", run_id=runs[0].run_id)
    call("tracking.finish_run", run_id=runs[1].run_id, state="killed")
    wall.at_us += 1
    call("tracking.start_run", experiment="early")
    early, late = call("tracking.experiments")
    assert (early.name, early.runs, early.running) == ("early", 2, 2)
    assert (late.runs, late.running, late.finished, late.failed) == (3, 1, 1, 1)
    assert early.last_started_at == wall.at_us
