"""Reading the loop's own records back: what is asked for must be able to hold something."""

from typing import Any

import pytest

from loopwright.kernel.errors import InvalidInput
from tests.loop.conftest import Loop


@pytest.mark.parametrize("verb", ["loop.start_export", "loop.start_skew_audit", "loop.start_closing_table"])
def test_an_empty_stretch_starts_no_job(loop: Loop, verb: str) -> None:
    for span in ({"start_at": 7, "end_at": 7}, {"start_at": 7, "end_at": 6}, {"start_at": 7, "end_at": 2**62}):
        with pytest.raises(InvalidInput, match="field: end_at"):
            loop(verb, deployment="late", **span)
    assert loop("jobs.list") == []


def test_an_audit_of_less_than_no_rows_starts_no_job(loop: Loop) -> None:
    args: dict[str, Any] = {"deployment": "late", "rows": -1}
    with pytest.raises(InvalidInput, match="field: rows"):
        loop("loop.start_skew_audit", **args)
