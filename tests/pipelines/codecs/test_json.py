"""JSON passes exactly, also where JSON itself would lose something."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.governance.arguments import check_content
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


@pytest.mark.parametrize("value", ["caf\udce9", {"caf\udce9": 1}, ["z" * 300_000], "é" * 300_000])
def test_a_text_that_no_call_takes_comes_back_as_it_was(value: Any, tmp_path: Path) -> None:
    files = Files(tmp_path, {})
    document = msgspec.json.decode(to_json(encode(value, files)))
    check_content("ended", document)
    back = Files(tmp_path, {digest: str(path) for digest, path in files.kept.items()})
    assert decode(document, back) == value
