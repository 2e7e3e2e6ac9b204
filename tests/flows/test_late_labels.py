"""Claims whose outcome is known after a year: training waits for ripe labels, and what it promises comes true."""

import importlib
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.client.caller import HttpCaller
from loopwright.kernel.clock import DAY_US
from tests.flows.flights_slice import apply_file

pytestmark = pytest.mark.slow

EXAMPLE = Path("examples/late")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLE.absolute()))
    return importlib.import_module("play")


def test_held_out_and_served_agree_where_training_waits_for_labels(
    example: Any, caller: HttpCaller, tmp_path: Path
) -> None:
    declared = (EXAMPLE / "late.py").read_text()
    audited = declared.replace(
        'p.deployment("fraud",', 'p.deployment("fraud", monitor=lw.Monitor(every="4d", audit="4d"),'
    )
    (tmp_path / "late.py").write_text(audited)
    remote = apply_file(tmp_path / "late.py", caller)
    serve_days = 12
    rows = example.claims(example.LEARN_DAYS + serve_days)
    played = example.play(remote, rows, serve_days, wait_days=432, step_days=108)

    true = (rows["settled_at"] - rows["opened_at"]).dt.total_microseconds().quantile(0.99)
    assert played.lag["0.99"] == pytest.approx(true, rel=0.05)
    assert played.lag["0.5"] == pytest.approx(40 * DAY_US, rel=0.05)
    assert played.embargo_days * DAY_US >= played.lag["0.99"]
    # Each has an interval of its own; apart they may be by no more than both leave open.
    widths = [judged.high - judged.low for judged in (played.held_out, played.served)]
    assert abs(played.held_out.auc - played.served.auc) <= math.hypot(*widths) / 2
    # Judged by the newest rows that have a label, the same recipe looks like another.
    assert played.hasty_held_out.high < played.held_out.low

    # Outcomes are told at the end of the day on which they became known, so what was served did not know them yet: the
    # audit says so, and of nothing else.
    audits = [event.payload for event in remote.call("audit.list", type_prefix="loop.skew_audited")]
    assert sum(audit["rows"] for audit in audits) > 20
    found = [feature for audit in audits for feature in audit["features"]]
    assert {(feature["column"], feature["cause"]) for feature in found} == {("broker_fraud_share_365d", "late")}
    assert all(0 < feature["by_us"] <= DAY_US for feature in found)
    (incident,) = remote.call("monitoring.incidents", kind="skew")
    assert "it did not know yet what had become known up to" in incident.title

    # Who knows the claim's number alone tells its outcome by it, once for every prediction of the claim.
    served = remote.deployment("fraud").read_log(example._us(example.LEARN_DAYS), example._us(example.LEARN_DAYS + 60))
    assert served["label"].null_count() == served.height > 100
    told = rows.select("claim_id", label="is_fraud", event_at=pl.col("settled_at").dt.epoch("us"))
    assert remote.deployment("fraud").label(told) == rows.height
    remote.call("clock.advance", to=example._us(example.LEARN_DAYS + serve_days + 433))
    served = remote.deployment("fraud").read_log(example._us(example.LEARN_DAYS), example._us(example.LEARN_DAYS + 60))
    truth = dict(told.select("claim_id", "label").iter_rows())
    assert served["label"].to_list() == [float(truth[key]) for key in served["row_key"]]

    # What became known late is what the dataset says now, and nothing else changed.
    stored = remote.dataset("claims").read().sort("claim_id")
    assert stored.equals(rows.select(stored.columns).sort("claim_id"))
    seen = remote.dataset("claims").read(as_known_at=example.at(example.LEARN_DAYS)).sort("claim_id")
    expected = example.as_seen(rows, example.LEARN_DAYS).sort("claim_id")
    assert seen.drop("settled_at").equals(expected.select(seen.columns).drop("settled_at"))
    whole = remote.call("data.get_version", dataset="claims", version=1)
    newest = remote.call("data.get_version", dataset="claims")
    assert newest.size_bytes < 2 * whole.size_bytes
    assert isinstance(seen, pl.DataFrame)
