"""Refs read back as they were written; names never form a path."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import Ref, check_name, parse_ref

NAMES = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=20).filter(
    lambda name: name[0] not in ".-"
)
KINDS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=10)


@given(KINDS, NAMES, st.none() | st.integers(0, 10**17), st.just("") | NAMES)
def test_a_ref_reads_back(kind: str, name: str, version: int | None, project: str) -> None:
    ref = Ref(kind, name, version, project)
    assert parse_ref(str(ref)) == ref


def test_a_missing_project_is_filled_in() -> None:
    assert str(parse_ref("model:late/17", "flights")) == "flights/model:late/17"
    assert parse_ref("other/model:late/17", "flights").project == "other"


@pytest.mark.parametrize(
    "text", ["", "late", "model:", ":late", "model:late/x", "a/b/model:late", "model:late/1\n", "Model:late"]
)
def test_what_is_no_ref_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a ref") as refused:
        parse_ref(text, field="subject")
    assert refused.value.field == "subject"


def test_a_version_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(InvalidInput):
        parse_ref("model:late/" + "9" * 5000)


TRAVERSALS = [
    *("..", "../x", "a/../b", "a..b", "/etc/passwd", "a/b", "a\\b", "..\\x", "%2e%2e", "%2e%2e%2f", "..%2f", "..%252f"),
    *("a%00", "a\x00", "a\n", "\na", " a", "a ", "", ".", ".hidden", "-rf", "a;b", "a#b", "a?b", "a:b", "~", "~root"),
    *(
        "file:///x",
        "http://x",
        "a//b",
        "ａ",
        "é",
        "a" * 129,
        "．．",
        "a\u202eb",
        "a\u2024b",
        "\u2025",
        "$(x)",
        "`x`",
        "{{x}}",
        "<b>",
    ),
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_name_is_never_a_path_or_a_url(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be used") as refused:
        check_name(name, "model")
    assert refused.value.field == "model"


@given(NAMES)
def test_a_plain_name_is_kept(name: str) -> None:
    if ".." not in name:
        assert check_name(name) == name
