"""The filter language: what it reads, and where it says a filter is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.filters import (
    Comparison,
    Conjunction,
    Disjunction,
    Field,
    Negation,
    Vocabulary,
    parse_filter,
    parse_order,
)

WORDS = Vocabulary({"metrics": "number", "params": "any", "tags": "text"}, {"state": "text", "started_at": "any"})


def test_and_binds_tighter_than_or() -> None:
    tree = parse_filter('metrics.auc > 0.7 or params.rate = 5e-2 and tags.team = "x"', WORDS)
    assert tree == Disjunction(
        [
            Comparison(Field("metrics", "auc"), ">", 0.7),
            Conjunction([Comparison(Field("params", "rate"), "=", 0.05), Comparison(Field("tags", "team"), "=", "x")]),
        ]
    )


def test_parentheses_not_and_lists() -> None:
    tree = parse_filter("NOT (state in ('failed', 'killed') or tags.a NOT LIKE '%b')", WORDS)
    assert tree == Negation(
        Disjunction(
            [
                Comparison(Field("", "state"), "in", ["failed", "killed"]),
                Negation(Comparison(Field("tags", "a"), "like", "%b")),
            ]
        )
    )


def test_names_may_hold_dots_dashes_and_anything_in_backticks() -> None:
    assert parse_filter("metrics.val/auc-1.x > -1", WORDS) == Comparison(Field("metrics", "val/auc-1.x"), ">", -1.0)
    assert parse_filter("metrics.`my metric` < 1", WORDS) == Comparison(Field("metrics", "my metric"), "<", 1.0)


def test_quotes_are_doubled() -> None:
    assert parse_filter("tags.a = 'it''s'", WORDS) == Comparison(Field("tags", "a"), "=", "it's")


def test_nothing_matches_everything() -> None:
    assert parse_filter("  ", WORDS) is None


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("metrics.auc >", 14, "expected a value"),
        ("metrics.auc > 'a'", 15, "is a number"),
        ("state = 3", 9, "quoted text"),
        ("colour = 'red'", 1, "unknown"),
        ("state = 'a' and", 16, "expected a name"),
        ("state = 'a' state", 13, "expected and, or"),
        ("(state = 'a'", 13, "expected \\)"),
        ("state ; 'a'", 7, "cannot be read"),
        ("state in 'a'", 10, "expected \\("),
        ("metrics.a 1", 11, "expected a comparison"),
        ("not " * 60 + "state = 'a'", 165, "too deep"),
    ],
)
def test_a_wrong_filter_names_the_position(text: str, position: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_filter(text, WORDS)
    assert caught.value.details["position"] == position


PARTS = ["metrics.auc", "tags.a", "state", "<=", "=", "in", "like", "not", "and", "or", "(", ")", ",", "'a'", "-1.5"]


@given(st.text(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    tree, refusal = None, None
    try:
        tree = parse_filter(text, WORDS)
    except InvalidInput as error:
        refusal = error
    if refusal is None:
        assert (tree is None) == (not text.strip())
        return
    assert 1 <= refusal.details["position"] <= len(text) + 1
    assert refusal.message.startswith(f"at position {refusal.details['position']}: ")
    assert refusal.rule


def test_orders() -> None:
    assert parse_order("metrics.auc DESC", WORDS) == (Field("metrics", "auc"), True)
    assert parse_order("state", WORDS) == (Field("", "state"), False)
    with pytest.raises(InvalidInput, match="cannot be read"):
        parse_order("colour asc", WORDS)
