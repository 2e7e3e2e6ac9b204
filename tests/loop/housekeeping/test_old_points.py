"""Points of metrics: those of runs that ended long ago go but for the last, unless something living needs the run."""

import pytest

from loopwright.kernel.clock import DAY_US
from loopwright.loop.housekeeping import old_points
from tests.loop.conftest import Loop


def run_of(loop: Loop, experiment: str = "tuning", steps: int = 4) -> str:
    """Log a run of some steps that has ended; return its id."""
    run_id = str(loop("tracking.start_run", experiment=experiment, execution_id="x").run_id)
    for step in range(steps):
        loop("tracking.log", run_id=run_id, metrics={"loss": 1.0 / (step + 1), "auc": float(step)}, step=step)
    loop("tracking.finish_run", run_id=run_id)
    return run_id


def steps_of(loop: Loop, run_id: str) -> list[int]:
    return [point.step for point in loop("tracking.metric_history", run_id=run_id, key="loss")]


def test_old_runs_keep_their_last_values_and_say_so(loop: Loop) -> None:
    old, other = run_of(loop), run_of(loop, "kept")
    loop.wall.at_us += 40 * DAY_US
    fresh = run_of(loop)
    loop("retention.set", kind="points", keep="30d", reason="curves of last month are enough")
    loop("retention.set", kind="points", stream="kept", keep="forever")
    [planned] = loop("retention.plan")
    assert (planned.kind, planned.stream, planned.chunks, planned.rows) == ("points", "tuning", 1, 6)
    [removal] = loop("retention.apply")
    assert (removal.kind, removal.stream, removal.rows) == ("points", "tuning", 6)
    assert (steps_of(loop, old), steps_of(loop, other), steps_of(loop, fresh)) == ([3], [0, 1, 2, 3], [0, 1, 2, 3])
    assert loop("tracking.get_run", run_id=old).metrics == {"loss": 0.25, "auc": 3.0}
    assert loop("tracking.get_run", run_id=old).points_removed_at == loop.wall.at_us
    assert loop("tracking.get_run", run_id=fresh).points_removed_at is None
    assert loop("retention.plan") == loop("retention.apply") == []
    [event] = loop("audit.list", type_prefix="retention.removed")
    assert (event.ref, event.payload["rows"]) == ("flights/experiment:tuning", 6)


def test_points_go_bit_by_bit_and_a_run_says_so_only_at_the_end(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [run_of(loop) for _ in range(3)]
    loop.wall.at_us += 40 * DAY_US
    loop("retention.set", kind="points", keep="30d")
    monkeypatch.setattr(old_points, "MOST_POINTS", 5)
    counts = []
    while removed := loop("retention.apply"):
        counts.append(removed[0].rows)
        is_marked = [loop("tracking.get_run", run_id=run).points_removed_at is not None for run in runs]
        assert is_marked == [len(counts) == 4] * 3
    assert counts == [5, 5, 5, 3]


def test_the_course_of_what_serves_stays(loop: Loop) -> None:
    served, first = run_of(loop), run_of(loop)
    recipe = loop.register(run=first)
    version = loop.register(run=served, refit_of=recipe)
    facts = {"execution_id": "x", "model": "late", "version": version, "passed": True, "reason": "it ran"}
    loop.service("loop.finish_training", **facts)
    loop.wall.at_us += 400 * DAY_US
    loop("retention.set", kind="points", keep="30d")
    [planned] = loop("retention.plan")
    assert planned.rows == 0
    assert len(planned.pins) == 2
    assert all("alias champion names it" in pin.why for pin in planned.pins)
    assert loop("retention.apply") == []
    assert steps_of(loop, served) == steps_of(loop, first) == [0, 1, 2, 3]
