"""The whole loop on a slice of real flights: read this first.

Data in, features, training, gates, a person's yes, a release; then days of predictions and late labels, a retrain that
rolls out through shadow and canary, the question where one answer came from, and the way back.
"""

from pathlib import Path
from typing import Any

import pytest

from loopwright.cli.project import follow_execution
from loopwright.cli.serving import wait_for_job
from loopwright.cli.verifying import verify_state
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import LoopwrightError
from loopwright.server.supervisor import Supervisor
from tests.flows.flights_slice import START, apply_file, make_replay, write_slice

DAYS = 4


def train(remote: Remote) -> Any:
    execution = remote.call("pipelines.start", pipeline="fit", params={}, reason="the first model")
    execution = follow_execution(remote, execution.execution_id)
    assert execution.state == "done", execution.error
    return execution


def released_by_a_person(remote: Remote) -> int:
    remote.advance(START)
    waiting = remote.call("approvals.list", state="waiting")
    assert [one.subject.split("/")[1][:8] for one in waiting] == ["rollout:"]
    with pytest.raises(LoopwrightError):
        remote.deployment("late").predict([{"carrier": "UA"}])
    remote.call("approvals.approve", approval_id=waiting[0].approval_id, reason="looks right")
    remote.advance(START)
    return int(remote.call("registry.get_version", model="late", alias="champion").version)


@pytest.mark.slow
def test_the_loop_closes(platform: Supervisor, caller: HttpCaller, tmp_path: Path) -> None:
    file = write_slice(tmp_path / "project")
    remote = apply_file(file, caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    train(remote)
    first = released_by_a_person(remote)

    replay = make_replay(remote, DAYS)
    changed_at = START + DAY_US * 3 // 4
    for _ in replay.run(START, changed_at, day_starts_at=START):
        pass
    file.write_text(file.read_text().replace('over=["3h", "24h"]', 'over=["3h", "24h", "48h"]'))
    apply_file(file, caller)
    started = remote.call("loop.start_retrain", deployment="late", cause="person", reason="a longer window")
    for _ in replay.run(changed_at, START + DAYS * DAY_US, day_starts_at=START):
        pass
    replay.settle(START + (DAYS + 1) * DAY_US)

    record = next(one for one in remote.call("loop.retrains") if one.retrain_id == started.retrain_id)
    assert record.state == "promoted", record.outcome
    champion = remote.call("registry.get_version", model="late", alias="champion")
    assert champion.version > first
    assert "carrier_late_share_2d" in [column.name for column in champion.signature.inputs]
    looks = remote.call("serving.rollouts", deployment="late")[0].verdicts
    assert {verdict.metric for verdict in looks} >= {"roc_auc", "error_rate"}

    log = remote.deployment("late").read_log(START, START + (DAYS + 1) * DAY_US)
    served = log.filter(~log["is_shadow"])
    assert served["prediction_id"].n_unique() == served.height == replay.tally.predictions
    assert set(served["model_version"]) == {first, champion.version}
    assert served["label"].drop_nulls().len() == replay.tally.labels
    assert served["label"].null_count() == served.height - replay.tally.labels

    skew = wait_for_job(remote, remote.call("loop.start_skew_audit", deployment="late", rows=3000).job_id).result
    assert skew["rows"] > 2000
    assert skew["unequal_rows"] == 0, skew["first"]

    windows = remote.call("monitoring.windows", deployment="late", state="settled")
    assert len(windows) >= DAYS - 1
    assert all(window.performance[0].value is not None for window in windows)

    provenance = remote.why(str(served["prediction_id"][-1]), replay=True)
    kinds = {node.kind for node in provenance.nodes}
    assert kinds >= {"prediction", "release", "rollout", "model", "gates", "run", "training_set", "features", "dataset"}
    assert provenance.replay is not None
    assert provenance.replay.is_same

    remote.call("loop.rollback", deployment="late", reason="to see that one can")
    remote.advance(remote.call("loop.status").clock_at)
    assert remote.call("registry.get_version", model="late", alias="champion").version == first
    platform.stop()
    assert verify_state(platform.settings).problems == []
