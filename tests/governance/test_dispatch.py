"""Calling verbs: permission, arguments, idempotency."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import Actor, Dispatcher, audit
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role


def test_a_verb_and_its_event_commit_together(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    made = call("tokens.create", actor="person:ana", role="viewer")
    newest = call("audit.list", limit=1)[0]
    assert newest.type == "tokens.created"
    assert newest.ref.endswith(made.token.token_id)
    assert dispatcher.database.read(audit.verify_chain) == newest.position


def test_a_failing_verb_leaves_nothing(call: Callable[..., Any]) -> None:
    before = call("audit.list")
    with pytest.raises(InvalidInput):
        call("tokens.create", actor="ana", role="viewer")
    assert call("audit.list") == before


def test_an_unknown_argument_names_the_nearest(call: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput, match="did you mean role"):
        call("tokens.create", actor="person:ana", rol="viewer")


def test_an_unknown_verb_names_the_nearest(call: Callable[..., Any]) -> None:
    with pytest.raises(NotFound, match=r"tokens\.create"):
        call("tokens.creat")


def test_a_viewer_may_not_create_tokens(dispatcher: Dispatcher) -> None:
    viewer = Actor("person:vi", {"flights": Role.VIEWER})
    with pytest.raises(PermissionDenied, match="at least admin"):
        dispatcher.call("tokens.create", {"actor": "person:x", "role": "viewer"}, actor=viewer, project="flights")


def test_a_role_in_one_project_is_none_in_another(dispatcher: Dispatcher) -> None:
    admin = Actor("person:ad", {"elsewhere": Role.ADMIN})
    with pytest.raises(PermissionDenied):
        dispatcher.call("audit.list", {}, actor=admin, project="flights")


def test_an_admin_may_not_call_internal_verbs(dispatcher: Dispatcher) -> None:
    admin = Actor("person:ad", {"flights": Role.ADMIN})
    with pytest.raises(PermissionDenied):
        dispatcher.call("jobs.claim", {"worker": "w", "kinds": ["x"]}, actor=admin, project="flights")


def test_an_idempotency_key_runs_a_verb_once(dispatcher: Dispatcher) -> None:
    from loopwright.governance import LOCAL_ACTOR

    args = {"actor": "person:ana", "role": "viewer"}
    options = {"actor": LOCAL_ACTOR, "project": "flights", "idempotency_key": "k1"}
    first = dispatcher.call("tokens.create", args, **options)
    assert dispatcher.call("tokens.create", args, **options) == first
    with pytest.raises(Conflict, match="another call"):
        dispatcher.call("tokens.create", {**args, "role": "editor"}, **options)
