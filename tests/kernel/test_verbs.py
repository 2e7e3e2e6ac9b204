"""The record that a decorator keeps of a verb."""

from collections.abc import Iterator

import msgspec
import pytest

from loopwright.kernel.verbs import VERBS, Role, operation, query, verb


class Thing(msgspec.Struct):
    pass


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = dict(VERBS)
    yield
    VERBS.clear()
    VERBS.update(before)


def test_a_verb_stays_plain_and_is_recorded() -> None:
    @verb("things.make", changes=Thing, role=Role.APPROVER)
    def make(tx: str, *, count: int, reason: str = "") -> str:
        """Make things.

        Args: more.
        """
        return f"{tx} {count}{reason}"

    found = VERBS["things.make"]
    assert make("tx", count=3) == "tx 3"
    assert (found.role, found.surface, found.is_query, found.changes) == (Role.APPROVER, "public", False, Thing)
    assert found.summary == "Make things."
    assert list(found.parameters) == ["count", "reason"]
    assert found.types["count"] is int


def test_internal_ones_are_for_services() -> None:
    @query("things.inner", internal=True)
    def inner(tx: str) -> None:
        """Look."""

    @operation("things.story", role=Role.VIEWER)
    def story(context: str) -> None:
        """Tell."""

    assert (VERBS["things.inner"].role, VERBS["things.inner"].surface) == (Role.SERVICE, "internal")
    assert VERBS["things.story"].is_operation


def test_two_verbs_of_one_name_are_a_mistake() -> None:
    @query("things.look")
    def look(tx: str) -> None:
        """Look."""

    def other(tx: str) -> None:
        """Look elsewhere."""

    with pytest.raises(RuntimeError, match=r"things\.look"):
        query("things.look")(other)
