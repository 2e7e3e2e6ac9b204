"""Days that begin with the day or the month are never guessed."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

import loopwright as lw
from loopwright.client.frames import read_table
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
        (["01.01.2024 10:00", "1.5.2024 10:00", None], r"two ways: '1.5.2024 10:00', 05 J.*moments='%m.%d.%Y %H:%M'"),
        (["01.01.2024 10:00", "31.12.2024 10:00"], r"day first alone: '31.12.2024 10:00', 31 Dec.*'%d.%m.%Y %H:%M'"),
        (["12/31/2024 1:05 PM"], r"month first alone.*moments='%m/%d/%Y %I:%M %p'"),
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


@pytest.mark.parametrize(
    "day", ["31.12.2025", "31/12/2025", "31-12-2025 7:05", "12/31/2025 1:05 PM", "31.12.2025T10:00:01"]
)
def test_what_the_error_says_to_declare_is_read_then(day: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"id,at\n1,{day}\n")
    source = lw.source.csv(tmp_path / "rows.csv", "UTC")
    with pytest.raises(InvalidInput) as refused:
        admit(read_table(tmp_path / "rows.csv", source)[0], DatasetSpec("d", source, ["id"], "at"))
    assert refused.value.next_step is not None
    said = eval(
        f"lw.{refused.value.next_step.partition('such as ')[2]}".replace("...", "path, 'UTC'"),
        {"lw": lw, "path": tmp_path / "rows.csv"},
    )
    frame = admit(read_table(tmp_path / "rows.csv", said)[0], DatasetSpec("d", said, ["id"], "at"))
    assert frame["at"].dt.date().to_list() == [date(2025, 12, 31)]
