"""No argument of any verb takes a text without end: each has a longest one, and says so."""

import types
import typing
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from loopwright.kernel.verbs import VERBS
from loopwright.rooms import import_rooms
from tests.server.site import serve

import_rooms()
LONG = "a" * 1_000_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    for site in serve(tmp_path_factory.mktemp("lengths"), is_open=False):
        with site.http("service") as http:
            yield http


def long_values(kind: Any) -> Iterator[Any]:
    """Yield values of a type that are as they should be, but for a text in them that is too long."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from long_values(inside[0])
    elif origin in (typing.Union, types.UnionType):
        for each in inside:
            yield from long_values(each)
    elif kind is str:
        yield LONG
    elif origin is list:
        yield from ([value] for value in long_values(inside[0]))
    elif origin is dict:
        yield {LONG: 1}
        yield from ({"a": value} for value in long_values(inside[1]))
    elif kind is Any:
        yield {"a": [{"b": LONG}]}


PLACES = [(name, argument) for name, verb in sorted(VERBS.items()) for argument in verb.parameters]


@pytest.mark.parametrize(("name", "argument"), PLACES)
def test_a_text_of_a_million_letters_is_refused(service: httpx.Client, name: str, argument: str) -> None:
    verb = VERBS[name]
    project = "_system" if verb.is_above_projects else "flights"
    for value in long_values(verb.types[argument]):
        answer = service.post(f"/v1/{project}/verbs/{name}", json={argument: value})
        assert answer.status_code == 422, answer.text
        told = answer.json()["error"]
        assert told["field"] == argument, told
        assert len(answer.content) < 5000
