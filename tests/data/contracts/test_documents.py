"""Documents of others: values come back as they were; what is too large, too deep or more than values is refused."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.data.contracts.documents import MOST_BYTES, MOST_DEPTH, MOST_PARTS, read_document, write_yaml
from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
WORDS = ["no", "yes", "on", "~", "null", "", "1e3", "0o14", "0x1f", "1_000", "12:30", "2024-01-31", "<<", "=", ".inf"]


@given(DOCUMENTS)
def test_what_is_written_is_read_again(document: Any) -> None:
    assert read_document(write_yaml({"document": document}).encode()) == {"document": document}


@pytest.mark.parametrize(
    "text", [*WORDS, "a\nb", "\x85", "\u2028", "\ufeff", "\x00", "'", '"', "x: y", "- a", "#", "\t"]
)
def test_texts_stay_texts_where_yaml_knows_them_as_something_else(text: str) -> None:
    assert read_document(write_yaml([text]).encode()) == [text]


def test_words_are_read_as_by_version_1_2_of_yaml() -> None:
    body = b"countries: [no, de]\nday: 2024-01-31\ncode: 012\nat: 12:30\nshare: 1e-2\nis: true\nnothing: ~\n"
    assert read_document(body) == {
        "countries": ["no", "de"], "day": "2024-01-31", "code": "012", "at": "12:30", "share": 0.01, "is": True,
        "nothing": None,
    }  # fmt: skip


def test_what_is_named_may_be_repeated() -> None:
    body = b"plain: &plain {a: 1, b: 2}\nother: {<<: *plain, b: 3}\nagain: *plain\n"
    assert read_document(body)["other"] == {"a": 1, "b": 3}


def test_what_takes_over_of_others_names_no_key_twice() -> None:
    body = b"z: &z {k: 0, l: 0}\na: &a {<<: *z, k: 1}\nb: {<<: [*a, *z], k: 2}\n"
    assert read_document(body)["a"] == {"k": 1, "l": 0}
    assert read_document(body)["b"] == {"k": 2, "l": 0}


def bomb() -> bytes:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    "body",
    [
        bomb(),
        bomb().replace(b": &", b": &").replace(b"[*", b"[{<<: *").replace(b"]", b"}]", 1),
        b"k: &k " + b"x" * 1_000_000 + b"\nl: [" + b"*k, " * 1000 + b"]",
        b"x" * (MOST_BYTES + 1),
        b"[" * 500_000,
        b"- " * 500_000,
        b'{"a":' * 200_000,
        b"a: " + b"{" * 500,
        b"[" + b"1," * MOST_PARTS + b"1]",
        b"a:\n" + b"- 1\n" * (MOST_PARTS + 1),
        b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1),
        b"a: " + b"[" * MOST_DEPTH + b"]" * MOST_DEPTH,
    ],
)
def test_what_would_grow_is_refused_before_it_does(body: bytes) -> None:
    with pytest.raises(LoopwrightError) as refused:
        read_document(body)
    assert len(refused.value.explain()) < 1000


def test_a_document_may_be_as_deep_as_said() -> None:
    assert read_document(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)
    assert read_document(b"- " * (MOST_DEPTH - 1) + b"a")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"a: !!python/object/apply:os.system ['true']", "a tag stands here"),
        (b"a: !!binary aGk=", "a tag stands here"),
        (b"a: !own {b: 1}", "a tag stands here"),
        (b"a: 1\na: 2", "a key stands twice"),
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b"\n".join(b"k%d: 1" % number for number in [*range(30_000), 29_999]), "a key stands twice"),
        (b"a: {<<: {b: 1}, <<: {b: 1}}", "a key stands twice"),
        (b"a: &a [*a]", "refers to what holds it"),
        (b"a: *b", "refers to what holds it"),
        (b"a: 1\n---\nb: 2", "a second document begins"),
        (b"\xff\xfe", "this is no text"),
        (b"x: [1, 2", "cannot be read as YAML"),
        (b"? {a: 1}\n: 1", "unhashable"),
        (b"? [a]\n: 1", "unhashable"),
        (b"a: 'x", "cannot be read as YAML"),
        (b"a: \x1b[2J", "cannot be read as YAML"),
        (b"\t- a: \x00", "cannot be read as YAML"),
        (b"a: " + b"9" * 5000, "cannot be read"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b"{'a': 1}", "cannot be read"),
        (b"%YAML 9.9\n---\na: 1", "cannot be read as YAML"),
    ],
)
def test_what_cannot_be_read_is_told(body: bytes, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_document(body)
    assert told in str(refused.value)
    assert "\x1b" not in refused.value.explain()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidInput, TooLarge):
        read_document(body)
