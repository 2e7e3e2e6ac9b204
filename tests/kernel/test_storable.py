"""Whatever somebody's code says or a row holds can be stored, and what was changed or left out shows."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.governance.arguments import check_content
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.storable import storable, storable_text, words_of

LETTERS = st.characters(codec=None) | st.sampled_from("\0\ud800\udfff")
TEXTS = st.text(LETTERS, max_size=30)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=3) | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.integers(), inner, max_size=4),
    max_leaves=10,
)


@given(DOCUMENTS)
def test_every_document_becomes_one_that_every_call_takes(document: Any) -> None:
    made = storable(document, 40)
    check_content("result", made)
    from_json(to_json(made), Any)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_a_text_that_can_be_stored_stays_as_it_is(text: str) -> None:
    assert storable_text(text, 40) == text


def test_a_long_text_keeps_both_ends_and_says_how_much_stood_between() -> None:
    found = storable_text("begin" + "x" * 1_000_000 + "end", 10)
    assert found == "begin … 999,998 letters left out … xxend"


def test_what_is_no_json_is_told_in_its_words() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    class Pair(msgspec.Struct):
        left: int
        right: str

    assert storable({3: Pair(1, "a\0")}) == {"3": {"left": 1, "right": "a\\x00"}}
    assert storable([np.float64(0.5), np.int8(3), np.str_("a")]) == [0.5, 3, "a"]
    assert storable(2**70) == str(2**70)
    assert storable([Mute()]) == ["<a Mute that cannot be told: RuntimeError>"]
    assert words_of(Mute()) == "<a Mute that cannot be told: RuntimeError>"
    assert math.isnan(storable(math.nan))


def test_a_document_without_an_end_has_one() -> None:
    endless: list[Any] = []
    endless.append(endless)
    check_content("result", storable(endless))


@pytest.mark.parametrize("kind", [str, np.str_])
def test_a_text_of_a_kind_of_its_own_is_plain(kind: type[str]) -> None:
    assert type(storable_text(kind("a"))) is str


def test_a_struct_is_what_its_json_is() -> None:
    class Shape(msgspec.Struct, tag="circle", tag_field="kind", rename="camel"):
        line_width: int

    assert storable(Shape(3)) == {"kind": "circle", "lineWidth": 3} == msgspec.to_builtins(Shape(3))
