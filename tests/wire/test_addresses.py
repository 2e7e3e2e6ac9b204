"""Several addresses of the same thing: who does not answer is passed over once, whoever notices first."""

from typing import Any

import pytest

from loopwright.governance import projects
from loopwright.kernel.errors import Unavailable
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import VerbCaller


def test_a_text_names_several_and_each_once() -> None:
    assert Addresses("http://a/, http://b,http://a").urls == ("http://a", "http://b")
    assert Addresses("http://a").current == "http://a"


def test_of_two_who_notice_at_once_one_goes_on() -> None:
    where = Addresses("http://a,http://b,http://c")
    tried = where.current
    where.pass_over(tried)
    where.pass_over(tried)
    assert where.current == "http://b"
    where.pass_over("http://b")
    where.pass_over("http://c")
    assert where.current == "http://a"


class Partly:
    """Answers at one address; the others fail as told."""

    def __init__(self, alive: str, cause: BaseException) -> None:
        self.alive, self._cause = alive, cause
        self.asked: list[str] = []

    def post(self, url: str, body: bytes = b"", *, headers: Any = None, timeout_s: float = 0.0) -> bytes:
        self.asked.append(url.partition("/v1")[0])
        if self.asked[-1] != self.alive:
            raise Unavailable("down") from self._cause
        return b"[]"


def test_a_call_that_reached_nobody_goes_to_the_next_server_and_stays_there() -> None:
    line = Partly("http://c", ConnectionRefusedError())
    caller = VerbCaller(Addresses("http://a,http://b,http://c"), line)
    assert caller.call(projects.list_projects) == []
    assert caller.within("flights").waiting(1).call(projects.list_projects) == []
    assert line.asked == ["http://a", "http://b", "http://c", "http://c"]
    line.alive = "http://a"
    assert caller.call(projects.list_projects) == []
    line.alive = ""
    with pytest.raises(Unavailable):
        caller.call(projects.list_projects)
    assert len(line.asked) == 9


def test_a_call_that_a_server_took_is_left_to_its_caller_and_the_next_call_goes_elsewhere() -> None:
    line = Partly("http://b", ConnectionResetError())
    caller = VerbCaller(Addresses("http://a,http://b"), line)
    with pytest.raises(Unavailable):
        caller.call(projects.list_projects)
    assert caller.call(projects.list_projects) == []
    assert line.asked == ["http://a", "http://b"]
