"""Handles of work that goes on: waited for, told of, and their errors name the user's line."""

from typing import Any

import msgspec
import pytest

from loopwright.client.waiting import RemoteExecution, RemoteJob
from loopwright.kernel.errors import InvalidInput, StepFailed, Unavailable
from loopwright.pipelines import Execution
from loopwright.store.types import Job

JOB = Job("flights", "job_1", "data.import", "flights/dataset:weather", {}, "queued", 0, None, None, 0, 0)
EXECUTION = Execution("exe_1", "fit", "d" * 64, {}, "running", "person:ana", "", 0, 0)


class Server:
    """Answers one record after the other, the last one for ever."""

    def __init__(self, *records: Any) -> None:
        self.records = list(records)
        self.asked = 0

    def call(self, verb: str, **args: Any) -> Any:
        self.asked += 1
        return self.records.pop(0) if len(self.records) > 1 else self.records[0]


def test_a_job_is_waited_for_and_tells_its_result() -> None:
    done = msgspec.structs.replace(JOB, state="done", result={"version": 3})
    server = Server(msgspec.structs.replace(JOB, state="running", progress="reading"), done)
    job = RemoteJob(server, JOB)  # type: ignore[arg-type]
    assert job.wait().result == {"version": 3}
    assert server.asked == 2


def test_a_failed_job_raises_its_own_error() -> None:
    error = InvalidInput("no such column", field="temp").to_dict()
    server = Server(msgspec.structs.replace(JOB, state="failed", error=error))
    with pytest.raises(InvalidInput, match="no such column"):
        RemoteJob(server, JOB).wait()  # type: ignore[arg-type]


def test_a_wait_has_an_end() -> None:
    with pytest.raises(Unavailable, match="job_1 has not ended in 0 s"):
        RemoteJob(Server(JOB), JOB).wait(timeout_s=0)  # type: ignore[arg-type]


def test_a_failed_step_names_file_line_and_function_of_the_user() -> None:
    frame = "train.py, line 12, in fit: rows['no_such_column']"
    error = {
        "message": "KeyError: 'no_such_column'",
        "step": "fit",
        "details": {"traceback": [frame]},
        "next_step": "fewer rows",
    }
    server = Server(msgspec.structs.replace(EXECUTION, state="failed", error=error))
    with pytest.raises(StepFailed) as told:
        RemoteExecution(server, EXECUTION).wait()  # type: ignore[arg-type]
    assert (told.value.field, told.value.value) == ("step fit", frame)
    assert told.value.next_step == "loopwright logs exe_1; fewer rows"
    error = {"message": "cannot be summed", "step": "training_set", "field": "orders.returned", "value": "String"}
    told_of = RemoteExecution(server, msgspec.structs.replace(EXECUTION, state="failed", error=error)).error()  # type: ignore[arg-type]
    assert (told_of.field, told_of.value) == ("step training_set: orders.returned", "String")


def test_handles_say_what_they_are() -> None:
    running = msgspec.structs.replace(JOB, state="running", progress="half")
    assert repr(RemoteJob(None, running)) == "<job job_1: data.import of flights/dataset:weather, running, half>"  # type: ignore[arg-type]
    assert repr(RemoteExecution(None, EXECUTION)) == "<execution exe_1: fit, running, 0 of 0 steps>"  # type: ignore[arg-type]
