"""Days that begin with the day or the month are never guessed."""

import polars as pl
import pytest

from loopwright.data import DatasetSpec, SourceSpec
from loopwright.data.columns import admit
from loopwright.data.sources.unclear import refuse_unclear
from loopwright.kernel.errors import InvalidInput


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (
            ["01/05/2024", "02/06/2024"],
            r"two ways: '01/05/2024', 05 January 2024 \(month first\) or 01 May 2024 \(day first",
        ),
        (["1.5.2024 10:00", None], "two ways"),
        (["13/05/2024", "02/06/2024"], r"day first alone.*dates='%d/%m/%Y'"),
        (["01/05/2024", "02/16/2024"], r"month first alone.*dates='%m/%d/%Y'"),
    ],
)
def test_both_readings_are_shown(days: list[str | None], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        refuse_unclear(pl.Series("at", days), is_hidden=False)
    with pytest.raises(InvalidInput) as refused:
        refuse_unclear(pl.Series("at", days), is_hidden=True)
    assert "2024" not in str(refused.value)


@pytest.mark.parametrize("texts", [["yesterday"], ["2024-05-01"], ["01/05/2024", "x"], ["99/99/2024"], [None]])
def test_other_texts_are_no_moments_for_another_reason(texts: list[str | None]) -> None:
    rows = pl.DataFrame({"id": range(len(texts)), "at": pl.Series(texts, dtype=pl.String)})
    with pytest.raises(InvalidInput, match="column at is String, not a moment") as refused:
        admit(rows, DatasetSpec("d", SourceSpec("frame"), ["id"], "at"))
    assert "two ways" not in str(refused.value)
