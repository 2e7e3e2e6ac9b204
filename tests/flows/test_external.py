"""Watching a model that runs elsewhere: two months of decisions, their outcomes months later, drift in the second."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import loopwright as lw
from loopwright.client.caller import HttpCaller
from loopwright.client.external import External
from loopwright.client.remote import Remote
from loopwright.kernel.clock import DAY_US, parse_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.server.supervisor import Supervisor

pytestmark = pytest.mark.slow

SEPTEMBER, OCTOBER = parse_moment("2026-09-01"), parse_moment("2026-10-01")


def decisions(start_at: int, days: int, a_day: int, *, shift: float, seed: int) -> pl.DataFrame:
    """Made-up credit decisions; ``shift`` moves the income of the applicants (in standard deviations)."""
    chance = np.random.default_rng(seed)
    rows = days * a_day
    at = start_at + np.repeat(np.arange(days), a_day) * DAY_US + chance.integers(0, DAY_US, rows)
    income = chance.normal(3.0 + shift, 1.0, rows)
    debts = chance.poisson(2.0, rows)
    truth = 1 / (1 + np.exp(1.2 * income - 0.5 * debts - 1.0))
    return pl.DataFrame(
        {
            "case_id": [f"case-{start_at // DAY_US}-{row}" for row in range(rows)],
            "decided_at": pl.Series(at).cast(pl.Datetime("us", "UTC")),
            "age": chance.integers(20, 80, rows),
            "income": np.where(chance.random(rows) < 0.02, np.nan, income),
            "debts": debts,
            "region": chance.choice(["north", "south", "east"], rows),
            "pd": np.clip(truth + chance.normal(0, 0.05, rows), 0.001, 0.999),
            "default_90d": chance.random(rows) < truth,
        }
    )


def watch(p: Remote, folder: Path) -> External:
    return p.external(
        "scorecard",
        task="binary",
        reference=folder / "train.parquet",
        id="case_id",
        time="decided_at",
        score="pd",
        label="default_90d",
        personal=["age"],
        segments=["region"],
    )


@pytest.fixture
def months(tmp_path: Path) -> dict[str, pl.DataFrame]:
    made = {
        "train": decisions(SEPTEMBER - 60 * DAY_US, 60, 150, shift=0.0, seed=1),
        "september": decisions(SEPTEMBER, 30, 150, shift=0.0, seed=2),
        "october": decisions(OCTOBER, 31, 150, shift=1.0, seed=3),
    }
    for name, frame in made.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    return made


def auc(frame: pl.DataFrame, start_at: int) -> float:
    day = frame.filter(pl.col("decided_at").dt.epoch("us").is_between(start_at, start_at + DAY_US, closed="left"))
    return float(roc_auc_score(day["default_90d"], day["pd"]))


def test_two_months_of_a_model_served_elsewhere(
    platform: Supervisor, tmp_path: Path, months: dict[str, pl.DataFrame]
) -> None:
    p = lw.connect(platform.server_url, project="credit")
    m = watch(p, tmp_path)
    for name in ("september", "october"):
        assert m.log(tmp_path / f"{name}.parquet") == months[name].height
    report = m.report("2026-10")
    assert [window.labels for window in report.windows] == [0] * 31
    assert {one.feature for one in report.windows[9].drift if one.is_drifted} >= {"income"}

    # outcomes, in any order, of both months at once
    outcomes = pl.concat([months["september"], months["october"]]).select("case_id", "default_90d")
    assert m.label(outcomes.sample(fraction=1.0, shuffle=True, seed=4)) == outcomes.height
    september, october = m.report("2026-09"), m.report("2026-10")
    assert not any(one.is_drifted for window in september.windows for one in window.drift)
    assert sum(window.labels for window in september.windows + october.windows) == outcomes.height
    for frame, found in ((months["september"], september), (months["october"], october)):
        for window in found.windows[::10]:
            assert window.performance[0].value == pytest.approx(auc(frame, window.start_at), abs=1e-12)
    assert set(october.windows[-1].segments) == {"region=north", "region=south", "region=east"}
    [incident] = [one for one in october.incidents if one.kind == "drift"]
    assert "income" in incident.title
    assert incident.needs_person
    shown = str(october)
    assert "2026-10-10" in shown
    assert "roc_auc 0." in shown

    # nothing personal was kept, by whatever way it came
    row = {"id": "by-hand", "event_at": OCTOBER, "score": 0.5, "features": {"age": 44, "income": 1.0}}
    assert p.deployment("scorecard").log([row]) == 1
    m.report("2026-10-01")
    inside = HttpCaller(platform.server_url, token=platform.settings.service_token)
    columns = set[str]()
    for chunk in inside.call("chunks.find", {"kind": "predictions", "stream": "scorecard"}, "credit"):
        columns |= set(pl.read_parquet(inside.get_blob("credit", chunk.digest)).columns)
    inside.close()
    assert "f.income" in columns
    assert "f.age" not in columns

    # the same declaration again starts nothing
    before = jobs(p)
    watch(p, tmp_path)
    assert jobs(p) == before
    p.close()


def jobs(p: Remote) -> list[Any]:
    return [job.job_id for job in p.call("jobs.list", kind="monitoring.build_reference", limit=100)]


def test_wrong_files_are_refused_by_column_and_row(
    platform: Supervisor, tmp_path: Path, months: dict[str, pl.DataFrame]
) -> None:
    p = lw.connect(platform.server_url, project="typos")
    m = watch(p, tmp_path)
    october = months["october"]
    with pytest.raises(InvalidInput, match=r"no column pd.*did you mean pdd"):
        m.log(october.rename({"pd": "pdd"}))
    with pytest.raises(InvalidInput, match=r"not a number; field: rows\[1\].income"):
        m.log(october.head(2).with_columns(income=pl.Series(["3.0", "much"])))
    with pytest.raises(InvalidInput, match="an id twice"):
        m.log(pl.concat([october.head(2), october.head(1)]))
    with pytest.raises(InvalidInput, match=r"0 or 1; field: rows\[0\].default_90d"):
        m.label(october.head(1).with_columns(default_90d=2))
    with pytest.raises(InvalidInput, match="no such file"):
        m.log(tmp_path / "november.parquet")
    with pytest.raises(InvalidInput, match="did you mean"):
        m.log(october.drop("region").with_columns(regoin=pl.lit("north")))
    assert m.report("2026-10-01").windows[0].predictions == 0
    p.close()
