"""Sessions: opaque, short, and ended with the token that began them."""

import pytest

from loopwright.governance import LOCAL_ACTOR, SESSION_LENGTH_US, Actor, Dispatcher
from loopwright.governance.sessions import MOST_OF_ONE
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import Unauthenticated
from loopwright.kernel.verbs import Role


@pytest.fixture
def token(dispatcher: Dispatcher) -> tuple[str, str]:
    args = {"actor": "person:ana", "role": "editor"}
    made = dispatcher.call("tokens.create", args, actor=LOCAL_ACTOR, project="flights")
    return made.secret, made.token.token_id


def test_a_session_is_its_person_and_another_secret(dispatcher: Dispatcher, token: tuple[str, str]) -> None:
    first, second = (dispatcher.begin_session(token[0]) for _ in range(2))
    assert len({first, second, token[0]}) == 3
    assert dispatcher.authenticate(first) == Actor("person:ana", {"flights": Role.EDITOR}, token_id=token[1])
    dispatcher.end_session(first)
    with pytest.raises(Unauthenticated, match="over"):
        dispatcher.authenticate(first)
    assert dispatcher.authenticate(second).name == "person:ana"


def test_a_session_ends_by_itself_and_with_its_token(
    dispatcher: Dispatcher, token: tuple[str, str], wall: FixedClock
) -> None:
    session = dispatcher.begin_session(token[0])
    wall.at_us += SESSION_LENGTH_US
    with pytest.raises(Unauthenticated):
        dispatcher.authenticate(session)
    session = dispatcher.begin_session(token[0])
    dispatcher.call("tokens.revoke", {"token_id": token[1]}, actor=LOCAL_ACTOR, project="flights")
    with pytest.raises(Unauthenticated):
        dispatcher.authenticate(session)
    with pytest.raises(Unauthenticated):
        dispatcher.begin_session(token[0])


@pytest.mark.parametrize("secret", ["", "lwu_", "lwu_x", "lwt_x"])
def test_what_is_no_session_is_nobody(dispatcher: Dispatcher, secret: str) -> None:
    with pytest.raises(Unauthenticated):
        dispatcher.authenticate(secret)


def test_a_token_has_so_many_sessions_at_once(dispatcher: Dispatcher, token: tuple[str, str], wall: FixedClock) -> None:
    """Each is a row that stays for hours, and whoever has a token begins them at will."""
    begun = []
    for _ in range(MOST_OF_ONE + 2):
        wall.at_us += 1
        begun.append(dispatcher.begin_session(token[0]))
    for ended in begun[:2]:
        with pytest.raises(Unauthenticated, match="over"):
            dispatcher.authenticate(ended)
    assert {dispatcher.authenticate(secret).name for secret in begun[2:]} == {"person:ana"}
