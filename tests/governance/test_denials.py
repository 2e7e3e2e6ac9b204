"""Calls that a gateway refused, as the event log has them."""

import pytest

from loopwright.governance import GATEWAY, LOCAL_ACTOR, Actor, Dispatcher, RefusedCall, denials, projects
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied

AT = 1_362_096_000_000_000


def note(dispatcher: Dispatcher, calls: list[RefusedCall], actor: Actor = GATEWAY) -> None:
    dispatcher.call("access.note_refused", {"calls": to_builtins(calls)}, actor=actor, project="flights")


def test_each_is_told_in_the_name_of_whoever_has_its_token(dispatcher: Dispatcher) -> None:
    args = {"actor": "person:eve", "role": "viewer"}
    made = dispatcher.call("tokens.create", args, actor=LOCAL_ACTOR, project="flights")
    token_id = made.token.token_id
    calls = [
        RefusedCall("labels", "flights", "10.0.0.7", AT, token_id),
        RefusedCall("predict", "flights", "10.0.0.8", AT),
        RefusedCall("predict", "flights", "10.0.0.9", AT, "tok_nobody_has"),
    ]
    note(dispatcher, calls)
    told = dispatcher.call("audit.list", {"type_prefix": "access."}, actor=LOCAL_ACTOR, project="flights")
    assert [(event.actor, event.token_id, event.client, event.payload["verb"]) for event in reversed(told)] == [
        ("person:eve", token_id, "10.0.0.7", "labels"),
        (denials.STRANGER, None, "10.0.0.8", "predict"),
        (denials.STRANGER, None, "10.0.0.9", "predict"),
    ]
    assert {event.payload["refused_at"] for event in told} == {AT}


def test_gateways_alone_tell_of_them_and_not_of_too_many(dispatcher: Dispatcher) -> None:
    call = RefusedCall("predict", "flights", "", AT)
    with pytest.raises(PermissionDenied):
        note(dispatcher, [call], LOCAL_ACTOR)
    with pytest.raises(InvalidInput, match="too many refused calls"):
        note(dispatcher, [call] * (denials.MOST_CALLS + 1))


def test_those_in_a_closed_project_are_told_there_and_a_deleted_one_is_said_to_be_gone(dispatcher: Dispatcher) -> None:
    """A gateway tells those of a project that is gone above projects; anything else it would ask again and again."""
    call = RefusedCall("predict", "flights", "10.0.0.8", AT)
    dispatcher.write("flights", LOCAL_ACTOR, lambda tx: projects.close(tx, reason="done"))
    note(dispatcher, [call])
    told = dispatcher.call("audit.list", {"type_prefix": "access."}, actor=LOCAL_ACTOR, project="flights")
    assert len(told) == 1
    dispatcher.write("flights", LOCAL_ACTOR, lambda tx: projects.delete(tx, reason="done"))
    with pytest.raises(NotFound, match="was deleted"):
        note(dispatcher, [call])
