"""Who took which bytes is on record, once an hour for each token; so is whose call made an event, and where from."""

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.errors import StorageFull
from loopwright.kernel.verbs import Role
from loopwright.server.reads import QUIET_S, NotedReads
from tests.server.site import Site


class Now:
    at_s = 1e6

    def __call__(self) -> float:
        return self.at_s


def events(dispatcher: Dispatcher, kind: str) -> list[tuple[str, str | None, str | None]]:
    listed = dispatcher.call("audit.list", {"type_prefix": kind}, actor=LOCAL_ACTOR, project="flights")
    return [(one.actor, one.token_id, one.client) for one in reversed(listed)]


def test_a_read_is_told_with_token_and_address_and_once(guarded: Site) -> None:
    with guarded.http("editor") as http:
        digest = http.put("/v1/flights/blobs", content=b"rows of people").json()["digest"]
    for role in ("viewer", "viewer", "editor", "service"):
        with guarded.http(role) as http:
            assert http.get(f"/v1/flights/blobs/{digest}").status_code == 200
    with guarded.http("stranger") as http:
        assert http.get(f"/v1/flights/blobs/{digest}").status_code == 403
    listed = guarded.call("audit.list", "viewer", type_prefix="access.blob_read").json()
    assert [one["actor"] for one in reversed(listed)] == ["person:viewer", "person:editor"]
    assert all(one["token_id"].startswith("tok_") and one["client"] == "127.0.0.1" for one in listed)
    assert {one["payload"]["digest"] for one in listed} == {digest}


def test_every_event_tells_whose_call_it_was(guarded: Site) -> None:
    assert guarded.call("tracking.start_run", "editor", experiment="x").status_code == 200
    (started,) = guarded.call("audit.list", "viewer", type_prefix="tracking.").json()
    (made,) = [one for one in guarded.call("tokens.list", "admin").json() if one["actor"] == "person:editor"]
    assert (started["token_id"], started["client"]) == (made["token_id"], "127.0.0.1")
    (denied,) = [guarded.call("tokens.list", "viewer").status_code]
    assert denied == 403
    refused = guarded.call("audit.list", "viewer", type_prefix="access.denied").json()
    (told,) = [one for one in refused if one["actor"] == "person:viewer"]
    assert told["token_id"].startswith("tok_")


def test_a_session_acts_by_its_token(guarded: Site) -> None:
    token = guarded.context.dispatcher.authenticate(guarded.tokens["editor"])
    session = guarded.context.dispatcher.begin_session(guarded.tokens["editor"])
    assert guarded.context.dispatcher.authenticate(session).token_id == token.token_id is not None


def test_an_export_is_on_record(dispatcher: Dispatcher) -> None:
    spec = {"name": "late", "model": "late", "task": "binary"}
    dispatcher.call("serving.declare", {"spec": spec}, actor=LOCAL_ACTOR, project="flights")
    reader = Actor("person:ana", {"flights": Role.VIEWER}, token_id="tok_1", client="10.1.2.3")
    args = {"deployment": "late", "start_at": 0, "end_at": 9, "features": True}
    dispatcher.call("loop.start_export", args, actor=reader, project="flights")
    assert events(dispatcher, "loop.export_started") == [("person:ana", "tok_1", "10.1.2.3")]


def test_it_is_told_again_after_an_hour_and_for_each_token(dispatcher: Dispatcher) -> None:
    now = Now()
    reads = NotedReads(dispatcher, now)
    first, second = (Actor("person:ana", {"flights": Role.VIEWER}, token_id=name) for name in ("tok_1", "tok_2"))
    for actor in (first, first, second, SERVICE_ACTOR):
        reads.note_blob(actor, "flights", "d" * 64)
    now.at_s += QUIET_S
    reads.note_blob(first, "flights", "d" * 64)
    assert [token for _, token, _ in events(dispatcher, "access.")] == ["tok_1", "tok_2", "tok_1"]


def test_a_read_that_cannot_be_noted_is_tried_again(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reads = NotedReads(dispatcher)
    actor = Actor("person:ana", {"flights": Role.VIEWER})

    def fail(*_: object) -> None:
        raise StorageFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(dispatcher, "write", fail)
        reads.note_blob(actor, "flights", "d" * 64)
    assert "could not be noted" in caplog.text
    reads.note_blob(actor, "flights", "d" * 64)
    assert len(events(dispatcher, "access.")) == 1
