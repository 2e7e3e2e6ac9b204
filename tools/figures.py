"""The page of figures: what the benchmarks measured last, as it stands in their results."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks/results")
_HEAD = ("what", "ours", "rival", "unit", "times better", "goal", "holds", "the rival is")
_HOLDS = {True: "yes", False: "**no**", None: ""}


def figures() -> Iterator[str]:
    """Yield the lines of the page: a table for each benchmark that has results."""
    yield "# Figures"
    yield ""
    yield "What `make bench` measured last, one table a benchmark; [performance](../explanation/performance.md) says on"
    yield "which machine, and what to make of it. A goal is about `ours` in its unit, or about the ratio to the rival."
    for file in sorted(RESULTS.glob("*.json")):
        yield ""
        yield f"## {file.stem}"
        yield ""
        yield f"`make bench ONLY={file.stem}`"
        yield ""
        yield f"| {' | '.join(_HEAD)} |"
        yield f"|---|{'---:|' * 2}---|---:|---|---|---|"
        for claim in json.loads(file.read_text("utf-8")):
            yield f"| {' | '.join(_cells(claim))} |"


def _cells(claim: dict[str, Any]) -> list[str]:
    numbers = [_number(claim[name]) for name in ("ours", "rival", "ratio")]
    goal = claim["goal"].replace("<", "&lt;").replace(">", "&gt;")
    return [claim["claim"], *numbers[:2], claim["unit"], numbers[2], goal, _HOLDS[claim["holds"]], claim["rival_name"]]


def _number(value: float | None) -> str:
    """Return a number with three digits, or more where it is large.

    >>> _number(1234.5), _number(0.123456), _number(None)
    ('1,234', '0.123', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
