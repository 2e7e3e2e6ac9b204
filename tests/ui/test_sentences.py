"""Sentences: each type of event has one, and none names a fact that its event does not have."""

import msgspec
import msgspec.inspect
import pytest

from loopwright.kernel.events import EVENT_TYPES, Event
from loopwright.serving import Released, ReleasedVariant
from loopwright.ui.kit.sentences import SENTENCES, sentence

DECLARED = {name for name, kind in EVENT_TYPES.items() if kind.__module__.startswith("loopwright.")}
"""Those of the platform; other tests declare events of their own."""


def event(name: str, payload: dict[str, object]) -> Event:
    return Event(1, "flights", name, "flights/model:late/1", "person:ana", 0, 0, "", payload)


def test_every_type_of_event_has_a_sentence_and_every_sentence_an_event() -> None:
    assert set(SENTENCES) == DECLARED


def sample(kind: msgspec.inspect.Type) -> object:
    """Return a value of a type, the plainest there is."""
    plain = {
        msgspec.inspect.StrType: "x",
        msgspec.inspect.IntType: 7,
        msgspec.inspect.FloatType: 0.5,
        msgspec.inspect.BoolType: True,
        msgspec.inspect.ListType: [],
        msgspec.inspect.DictType: {},
        msgspec.inspect.AnyType: "x",
    }
    if isinstance(kind, msgspec.inspect.LiteralType):
        return kind.values[0]
    if isinstance(kind, msgspec.inspect.EnumType):
        return next(iter(kind.cls)).value
    if isinstance(kind, msgspec.inspect.UnionType):
        return sample(kind.types[0])
    if isinstance(kind, msgspec.inspect.StructType):
        return {field.encode_name: sample(field.type) for field in kind.fields}
    if isinstance(kind, msgspec.inspect.StrType) and kind.pattern:
        return "a" * 64  # a digest
    return plain.get(type(kind))


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_a_sentence_reads_the_facts_of_its_event(name: str) -> None:
    facts = sample(msgspec.inspect.type_info(EVENT_TYPES[name]))
    assert isinstance(facts, dict)
    text = SENTENCES[name](event(name, facts))
    assert text
    assert text == text.strip()


def test_facts_of_an_older_day_read_as_their_type() -> None:
    assert sentence(event("registry.alias_set", {})).text == "alias set"
    assert sentence(event("nobody.knows_it", {"a": 1})).text == "knows it"


def test_a_release_tells_who_serves_what_share() -> None:
    variants = [ReleasedVariant("champion", "late", 16, 0.9, False), ReleasedVariant("next", "late", 17, 0.1, False)]
    facts = Released("late", 3, 9, "", [*variants, ReleasedVariant("frozen", "late", 2, 0.0, True)])
    assert (
        sentence(event("serving.released", msgspec.to_builtins(facts))).text
        == "now v16 90\u202f%, v17 10\u202f%, v2 unseen"
    )
