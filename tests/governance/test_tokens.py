"""Tokens: secrets shown once, stored as digests, ended at once."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Actor, Dispatcher
from loopwright.kernel.clock import DAY_US, FixedClock
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied, Unauthenticated
from loopwright.kernel.verbs import Role


def test_a_token_lets_its_actor_in(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    made = call("tokens.create", actor="person:ana", role="editor")
    known = Actor("person:ana", {"flights": Role.EDITOR}, token_id=made.token.token_id)
    assert dispatcher.authenticate(made.secret) == known


def test_tokens_end_by_time_and_by_hand(dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock) -> None:
    short = call("tokens.create", actor="person:ana", role="editor", expires_in="1d")
    long = call("tokens.create", actor="person:ana", role="editor")
    wall.at_us += DAY_US
    with pytest.raises(Unauthenticated):
        dispatcher.authenticate(short.secret)
    call("tokens.revoke", token_id=long.token.token_id, reason="left")
    with pytest.raises(Unauthenticated):
        dispatcher.authenticate(long.secret)
    with pytest.raises(NotFound):
        call("tokens.revoke", token_id=long.token.token_id)
    assert dispatcher.call("tokens.live", {}, actor=SERVICE_ACTOR, project=SYSTEM) == {}


def test_a_secret_is_answered_once_and_stored_nowhere(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    secret = call("tokens.create", actor="person:ana", role="editor").secret
    assert secret not in str(call("tokens.list"))
    assert secret not in str(call("audit.list"))
    with dispatcher.database.reading() as connection:
        assert secret not in str(connection.execute(text("SELECT * FROM tokens")).all())


@pytest.mark.parametrize("secret", ["", "x", "' OR '1'='1", "lwt_%", "\x00", "é" * 100])
def test_no_other_secret_lets_anybody_in(dispatcher: Dispatcher, call: Callable[..., Any], secret: str) -> None:
    call("tokens.create", actor="person:ana", role="editor")
    with pytest.raises(Unauthenticated):
        dispatcher.authenticate(secret)


@pytest.mark.parametrize(
    "actor",
    ["ana", "", "person:", "person:local", "service:timers", "policy:retrain", "root:ana", "person:a\nb", "person:<b>"],
)
def test_an_actor_has_a_kind_and_is_not_the_platform(call: Callable[..., Any], actor: str) -> None:
    with pytest.raises(InvalidInput):
        call("tokens.create", actor=actor, role="viewer")


def test_nobody_gives_more_than_they_have(dispatcher: Dispatcher) -> None:
    admin = Actor("person:ad", {"flights": Role.ADMIN})
    for args in ({"role": "service"}, {"role": "admin", "every_project": True}):
        with pytest.raises(InvalidInput):
            dispatcher.call("tokens.create", {"actor": "person:eve", **args}, actor=admin, project="flights")


@pytest.mark.parametrize("name", ["service", "admin"])
def test_the_name_of_a_project_gives_no_right(dispatcher: Dispatcher, name: str) -> None:
    dispatcher.call("projects.create", {"name": name}, actor=LOCAL_ACTOR, project=SYSTEM)
    args, admin = {"actor": "service:eve", "role": "service"}, Actor("person:ad", {name: Role.ADMIN})
    with pytest.raises(InvalidInput, match="by the server itself"):
        dispatcher.call("tokens.create", args, actor=admin, project=name)


def test_tokens_for_every_project_can_be_listed_and_ended(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    args = {"actor": "person:ana", "role": "admin", "every_project": True}
    options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": SYSTEM}
    made = dispatcher.call("tokens.create", args, **options)
    assert dispatcher.authenticate(made.secret).role_in("flights") is Role.ADMIN
    assert call("tokens.list") == []
    assert dispatcher.call("tokens.list", {}, **options) == [made.token]
    dispatcher.call("tokens.revoke", {"token_id": made.token.token_id}, **options)
    with pytest.raises(Unauthenticated):
        dispatcher.authenticate(made.secret)


def test_a_name_belongs_to_whoever_has_it(dispatcher: Dispatcher) -> None:
    """An admin of one project could else approve as another's person, or as a program."""
    dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project=SYSTEM)
    mine, theirs = Actor("person:ad", {"flights": Role.ADMIN}), Actor("person:bo", {"other": Role.ADMIN})

    def create(actor: Actor, project: str, name: str, role: str = "approver") -> Any:
        return dispatcher.call("tokens.create", {"actor": name, "role": role}, actor=actor, project=project)

    ana = create(mine, "flights", "person:ana")
    assert create(mine, "flights", "person:ana").secret != ana.secret
    with pytest.raises(PermissionDenied, match="person:ana is known outside other"):
        create(theirs, "other", "person:ana")
    assert create(LOCAL_ACTOR, "other", "person:ana").token.actor == "person:ana"
    with pytest.raises(InvalidInput, match="a program decides nothing"):
        create(mine, "flights", "service:crm")
    assert create(mine, "flights", "service:crm", "editor").token.role is Role.EDITOR
    for ended in ("flights", "other"):
        for token in dispatcher.call("tokens.list", {}, actor=LOCAL_ACTOR, project=ended):
            dispatcher.call("tokens.revoke", {"token_id": token.token_id}, actor=LOCAL_ACTOR, project=ended)
    assert create(theirs, "other", "person:ana").secret
