"""The server and the gateway are killed; the gateway comes back alone, answers, and hands its log in later."""

from pathlib import Path

import pytest

from loopwright.cli.serving import wait_for_job
from loopwright.client.caller import HttpCaller
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import LoopwrightError
from loopwright.server.supervisor import Supervisor
from tests.flows.flights_slice import START, apply_file, read_history, write_slice
from tests.flows.test_kills import again, settled_log
from tests.flows.test_loop import released_by_a_person, train


@pytest.mark.slow
def test_predictions_go_on_while_the_control_plane_is_down(
    platform: Supervisor, caller: HttpCaller, tmp_path: Path
) -> None:
    remote = apply_file(write_slice(tmp_path / "project"), caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    train(remote)
    released_by_a_person(remote)
    rows, _ = read_history(1)[1].between(START, START + DAY_US)
    remote.advance(START + DAY_US)
    platform.kill("server")
    platform.kill("gateway")
    platform._spawn("gateway")  # it starts, and answers, with the server still down
    deployment = remote.deployment("late")
    answers = again(lambda: deployment.predict(rows[:20]))
    with pytest.raises(LoopwrightError):
        remote.call("loop.status")
    platform._spawn("server")
    log = again(lambda: settled_log(remote, [answer["prediction_id"] for answer in answers]))
    assert {answer["prediction_id"] for answer in answers} <= set(log["prediction_id"])
