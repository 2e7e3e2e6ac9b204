"""Calls by function: the wire carries the name, and the answer has the verb's own type."""

from typing import Any

import pytest

from loopwright import registry
from loopwright.governance import projects
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import VerbCaller, verb_url


class Recorder:
    """Answers as told and keeps what was posted."""

    def __init__(self, answer: Any) -> None:
        self.answer = to_json(answer)
        self.posted: list[tuple[str, Any, Any, float]] = []

    def post(self, url: str, body: bytes = b"", *, headers: Any = None, timeout_s: float = 0.0) -> bytes:
        self.posted.append((url, from_json(body, Any), headers, timeout_s))
        return self.answer


PROJECT = {"name": "flights", "owner": "ops", "risk": "low", "clock": "wall", "clock_at": 0, "created_at": 5}


def test_a_call_names_the_function_and_gets_its_type() -> None:
    line = Recorder([PROJECT])
    answer = VerbCaller(Addresses("http://lw"), line, timeout_s=3).waiting(2).call(projects.list_projects)
    assert [project.name for project in answer] == ["flights"]
    assert isinstance(answer[0], projects.Project)
    assert line.posted == [("http://lw/v1/_system/verbs/projects.list?wait_s=2", {}, None, 5.0)]


def test_a_call_within_a_project_says_so_and_a_key_goes_along() -> None:
    line = Recorder(None)
    VerbCaller(Addresses("http://lw"), line).within("a b").call_named("x.y", {"n": 1}, key="k")
    assert line.posted[0][:3] == ("http://lw/v1/a%20b/verbs/x.y", {"n": 1}, {"idempotency-key": "k"})


def test_what_is_no_verb_is_not_sent() -> None:
    line = Recorder(None)
    with pytest.raises(TypeError, match="is no verb"):
        VerbCaller(Addresses("http://lw"), line).call(lambda _tx: None)
    assert line.posted == []


def test_an_answer_of_another_version_names_the_verb_and_the_path() -> None:
    line = Recorder({"version": "three"})
    with pytest.raises(InvalidInput) as told:
        VerbCaller(Addresses("http://lw"), line).call(registry.get_version, model="late", version=3)
    assert told.value.field == "registry.get_version"


def test_names_cannot_leave_their_part_of_the_address() -> None:
    assert verb_url("http://lw", "../x", "a/../b") == "http://lw/v1/..%2Fx/verbs/a%2F..%2Fb"
