"""Whoever reads text from outside: twice as much of the worst text costs about twice as much, whatever is in it."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest

from loopwright.data import columns
from loopwright.data.checks.matches import Matches
from loopwright.kernel.clock import parse_duration
from loopwright.kernel.documents import from_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.filters import MOST_LETTERS, Vocabulary, parse_filter, parse_order
from loopwright.kernel.ids import parse_id
from loopwright.kernel.refs import check_name, parse_ref
from loopwright.kernel.suggestions import suggest
from loopwright.loop.training.commands import read_words
from loopwright.registry.flavours.lightgbm_text import check_text
from loopwright.ui.kit.addresses import local_path, read_ref

WORDS = Vocabulary({"metrics": "number", "tags": "text"}, {"state": "text"})
TIMES = 8
"""How much longer the longer text is; what costs its square takes eight times eight."""

PATH = " - at `$"
READERS: list[tuple[str, Callable[[str], Any], Callable[[int], str]]] = [
    ("order: blanks", lambda text: parse_order(text, WORDS), lambda n: "a" + " " * n + "b"),
    ("order: ways", lambda text: parse_order(text, WORDS), lambda n: "asc " * n),
    ("filter: digits", lambda text: parse_filter(text, WORDS), lambda n: "metrics.a > " + "1" * n + "x"),
    ("filter: open text", lambda text: parse_filter(text, WORDS), lambda n: "tags.a = '" + "''" * n),
    ("filter: blanks", lambda text: parse_filter(text, WORDS), lambda n: "tags.a" + " " * n + "\0"),
    ("filter: name", lambda text: parse_filter(text, WORDS), lambda n: "tags.`" + "a" * n),
    ("choice: paths", lambda text: from_json(text, Literal["a"]), lambda n: '"' + PATH * n + '\\n"'),
    ("ref", parse_ref, lambda n: "a" * n + "/" + "b" * n),
    ("name", check_name, lambda n: "a." * n),
    ("id", parse_id, lambda n: "a" * n + "_"),
    ("ref of a page", lambda text: read_ref(text, "p"), lambda n: "a_" * n),
    ("path of a form", local_path, lambda n: "/" + "a" * n + "\t"),
    ("duration", lambda text: parse_duration(text, "x"), lambda n: "1" * n),
    ("suggestion", lambda text: suggest(text, ["flights", "a" * 100]), lambda n: "ab" * n),
    ("dtype", columns.parse_dtype, lambda n: "List(" * n + ")" * n),
    ("command", lambda text: read_words(text, set(), set()), lambda n: "{a" * n),
    ("model text", check_text, lambda n: "tree\ntree_sizes=" + "1 " * n),
    ("pattern", lambda text: Matches(text).validate(), lambda n: "(" * n + ")" * n),
    ("pattern: repeats", lambda text: Matches(text).validate(), lambda n: "a{9}" * n),
]


def cost_s(read: Callable[[str], Any], text: str) -> float:
    """Return the least processor seconds of some tries at reading a text, whatever comes of it."""
    least = float("inf")
    for _ in range(5):
        started = time.thread_time()
        for _ in range(20):
            with contextlib.suppress(InvalidInput, ValueError):
                read(text)
        least = min(least, time.thread_time() - started)
    return least


@pytest.mark.parametrize(("read", "make"), [pytest.param(*each[1:], id=each[0]) for each in READERS])
@pytest.mark.parametrize("size", [25, 250])
def test_the_worst_text_costs_no_more_than_its_length(
    read: Callable[[str], Any], make: Callable[[int], str], size: int
) -> None:
    short, long = cost_s(read, make(size)), cost_s(read, make(TIMES * size))
    assert long < short * TIMES * 3 + 0.002, f"{short * 50:.2e} ms, then {long * 50:.2e} ms"


def test_what_is_longer_than_anything_of_its_kind_is_not_read_at_all() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        parse_order("a" * 301, WORDS)
    with pytest.raises(InvalidInput, match="too long"):
        parse_filter("a" * (MOST_LETTERS + 1), WORDS)
    with pytest.raises(InvalidInput, match="too long"):
        columns.parse_dtype("List(" * 100)
    for pattern in ("a" * 501, "(" * 200 + ")" * 200 + "x" * 200):
        with pytest.raises(ValueError, match="regular expression"):
            Matches(pattern).validate()
