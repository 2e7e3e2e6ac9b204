"""A year of flights as twelve monthly files in three dialects, their outcomes a month behind.

One month is corrected, one is poisoned and caught by checks that the months before suggested, one is taken back.
"""

import html
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

import loopwright as lw
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.client.waiting import RemoteJob
from loopwright.data import Diff, ImportResult, SourceSpec
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput
from tests.flows.flights_slice import apply_file

pytestmark = pytest.mark.slow

FLIGHTS = 600
"""A month."""
PROJECT = """
import loopwright as lw

p = lw.Project("year")
checks = [
    {checks}
]
p.dataset(
    "flights",
    lw.source.frame(zone="UTC"),
    key="flight",
    time="scheduled_at",
    known_at={{"is_late": "landed_at"}},
    checks=checks,
)
"""
DIALECTS: list[dict[str, Any]] = [
    {},
    {"separator": ";", "decimal": ",", "moments": "%d.%m.%Y %H:%M", "encoding": "cp1252", "missing": ["k.A."]},
    {"separator": "|", "moments": "%m/%d/%Y %I:%M %p", "quote": "'", "missing": ["-"]},
]


def flights(month: int) -> pl.DataFrame:
    """Flights of a month of 2013: late more often on long ways, in the evening and in summer."""
    chance = random.Random(month)
    first = datetime(2013, month, 1, 5, tzinfo=UTC)
    rows = []
    for number in range(FLIGHTS):
        at = first + timedelta(minutes=number * 70)
        miles = round(chance.lognormvariate(6.8, 0.5), 1)
        odds = -2.2 + miles / 2000 + (at.hour >= 17) * 0.8 + (month in (6, 7)) * 0.4
        is_late = chance.random() < 1 / (1 + math.exp(-odds))
        rows.append(
            {
                "flight": month * 10_000 + number,
                "scheduled_at": at,
                "carrier": chance.choices(["AA", "B6", "DL", "Zürich Air"], [4, 3, 2, 1])[0],
                "gate": None if chance.random() < 0.1 else f"{chance.choice('ABC')}{chance.randint(1, 30)}",
                "distance": miles,
                "is_late": is_late,
                "landed_at": at + timedelta(minutes=round(miles / 8) + (40 if is_late else 0)),
            }
        )
    return pl.DataFrame(rows)


def written(frame: pl.DataFrame, file: Path, dialect: dict[str, Any]) -> SourceSpec:
    """Write a frame as some office exports it; returns how it is read."""
    missing, quote = dialect.get("missing", [""])[0], dialect.get("quote", '"')

    def show(value: Any) -> str:
        if value is None:
            return str(missing)
        if isinstance(value, datetime):
            return value.strftime(dialect.get("moments", "%Y-%m-%dT%H:%M:%SZ"))
        if isinstance(value, float):
            return str(value).replace(".", dialect.get("decimal", "."))
        return f"{quote}{value}{quote}" if isinstance(value, str) else str(value).lower()

    separator = dialect.get("separator", ",")
    lines = [separator.join(frame.columns), *(separator.join(map(show, row)) for row in frame.iter_rows())]
    file.write_bytes("\n".join(lines).encode(dialect.get("encoding", "utf-8")))
    return lw.source.csv(str(file), **dialect)


def declare(folder: Path, caller: HttpCaller, checks: list[str]) -> Remote:
    file = folder / "year.py"
    file.write_text(PROJECT.format(checks="\n    ".join(checks)))
    return apply_file(file, caller)


def came(job: RemoteJob) -> ImportResult:
    """Return what came of an import once it is done."""
    return convert(job.wait().result, ImportResult, "result")


def stored(p: Remote) -> pl.DataFrame:
    return p.dataset("flights").read().sort("flight")


def diff(p: Remote, before: int, after: int) -> Diff:
    job = p.call("data.start_diff", dataset="flights", before=before, after=after)
    p.job(job.job_id).wait()
    found: Diff = p.call("data.diff_result", job_id=job.job_id)
    return found


OUTCOME = ["is_late", "landed_at"]
MONTHS = {month: flights(month) for month in range(1, 13)}
UNKNOWN = [pl.lit(None, MONTHS[1].schema[name]).alias(name) for name in OUTCOME]


def test_a_year_of_monthly_files(caller: HttpCaller, tmp_path: Path) -> None:
    p = declare(tmp_path, caller, [])
    told = correct(p, tmp_path, bring_ten_months(p, tmp_path))
    stop_what_is_poisoned(p, caller, tmp_path)
    take_back(p, tmp_path, told.columns)


def bring_ten_months(p: Remote, folder: Path) -> pl.DataFrame:
    """Append months as they end, and what became of their flights a month later; returns what was said of them all."""
    dataset = p.dataset("flights")
    for month in range(1, 11):
        known = MONTHS[month] if month == 1 else MONTHS[month].with_columns(UNKNOWN)
        found = came(dataset.append(written(known, folder / f"{month}.csv", DIALECTS[month % 3])))
        assert (found.state, found.rows) == ("ready", FLIGHTS), found.message
        if month > 2:
            late = MONTHS[month - 1].select("flight", *OUTCOME)
            found = came(dataset.complete(written(late, folder / f"{month}-late.csv", DIALECTS[month % 2])))
            assert (found.state, found.changed_rows) == ("ready", FLIGHTS), found.message
    told = pl.concat([*(MONTHS[month] for month in range(1, 10)), MONTHS[10].with_columns(UNKNOWN)])
    assert stored(p).select(told.columns).equals(told.sort("flight"), null_equal=True)
    return told


def correct(p: Remote, folder: Path, told: pl.DataFrame) -> pl.DataFrame:
    """Correct one month: the difference is those cells and no others."""
    dataset = p.dataset("flights")
    before = p.call("data.get_version", dataset="flights").version
    wrong = MONTHS[4].filter(pl.col("carrier") == "Zürich Air").select("flight", "distance")
    right = wrong.with_columns(pl.col("distance") + 0.5)
    dataset.complete(
        written(right, folder / "correction.csv", DIALECTS[1]), corrects=True, reason="miles by air"
    ).wait()
    change = diff(p, before, before + 1)
    assert (change.added_rows, change.removed_rows, change.changed_rows) == (0, 0, len(right))
    cells = dict(
        wrong.join(right, on="flight", suffix="_now").select("flight", pl.struct("distance", "distance_now")).rows()
    )
    for sample in change.samples["changed"]:
        now = cells[sample["flight"]]
        assert sample["changes"] == {"distance": {"before": now["distance"], "after": now["distance_now"]}}
    told = told.join(right, on="flight", how="left", suffix="_now")
    told = told.with_columns(distance=pl.coalesce("distance_now", "distance")).drop("distance_now").sort("flight")
    assert stored(p).select(told.columns).equals(told, null_equal=True)
    return told


def stop_what_is_poisoned(p: Remote, caller: HttpCaller, folder: Path) -> None:
    """Take the checks over that what came suggests, as a person would paste them: metres are no miles."""
    found = p.dataset("flights").suggest_checks()
    page = html.unescape(httpx.get(f"{caller.url}/p/year/data/flights").text)
    assert all(one.code in page for one in found)
    suggested = [f"{one.code},  # {one.why}" for one in found if one.check]
    assert any("'carrier'" in code and "is_in" in code for code in suggested)
    p = declare(folder, caller, suggested)
    dataset = p.dataset("flights")
    whole = pl.col("distance") * 1000
    poisoned = MONTHS[11].with_columns(whole, *UNKNOWN)
    stopped = came(dataset.append(written(poisoned, folder / "metres.csv", DIALECTS[2])))
    assert stopped.state == "quarantined"
    assert "distance between" in stopped.message
    right = came(dataset.append(written(MONTHS[11].with_columns(UNKNOWN), folder / "11.csv", DIALECTS[2])))
    assert right.state == "ready", right.message


def take_back(p: Remote, folder: Path, columns: list[str]) -> None:
    """Restore what was there before a month that nobody noticed in time; what comes next stands on that."""
    dataset = p.dataset("flights")
    good = p.call("data.get_version", dataset="flights").version
    hoax = MONTHS[12].with_columns(pl.lit("AA").alias("carrier"), *UNKNOWN)
    assert came(dataset.append(written(hoax, folder / "hoax.csv", {}))).state == "ready"
    restored = dataset.restore(good, reason="December was a test")
    assert came(dataset.append(written(MONTHS[12], folder / "12.csv", DIALECTS[1]))).rows == FLIGHTS
    change = diff(p, good, restored.version)
    assert (change.added_rows, change.removed_rows, change.changed_rows) == (0, 0, 0)
    last = stored(p).select(columns).tail(2 * FLIGHTS)
    assert last.equals(pl.concat([MONTHS[11].with_columns(UNKNOWN), MONTHS[12]]), null_equal=True)
    known = dataset.read(as_known_at="2013-06-01T00:00:00Z").filter(pl.col("is_late").is_not_null())
    assert known["landed_at"].max() < datetime(2013, 6, 1, tzinfo=UTC)


def test_files_keep_to_the_zone_of_their_dataset(caller: HttpCaller, tmp_path: Path) -> None:
    p = declare(tmp_path, caller, [])
    source = lw.source.csv(str(tmp_path / "none.csv"), zone="Europe/Berlin")
    with pytest.raises(InvalidInput, match="one time zone"):
        p.dataset("flights").append(source)
