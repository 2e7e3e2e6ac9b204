"""JSON passes exactly, also where JSON itself would lose something."""

import math
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.documents import to_json
from loopwright.pipelines import Files
from loopwright.pipelines.codecs import decode, encode

SCALARS = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("codec"), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@given(VALUES)
def test_every_value_comes_back(value: Any) -> None:
    files = Files(Path("/nonexistent"), {})
    document = encode(value, files)
    assert same(value, decode(msgspec.json.decode(to_json(document)), files))
