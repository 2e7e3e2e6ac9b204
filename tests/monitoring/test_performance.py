"""Performance on score rows."""

import math

import numpy as np
import polars as pl
import pytest

from loopwright.governance.arguments import check_content
from loopwright.monitoring.performance import REST, measure, score_rows, segment_performance
from loopwright.monitoring.types import MonitorSpec

DAY = 86_400_000_000


def labelled(rows: int = 2_000) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.random(rows) < 0.3
    return pl.DataFrame(
        {
            "variant": "champion",
            "score": 1 / (1 + np.exp(-(truth + rng.normal(0, 1, rows)))),
            "answer": pl.Series([None] * rows, dtype=pl.String),
            "label": truth.astype(float),
            "label_text": pl.Series([None] * rows, dtype=pl.String),
            "f.carrier": rng.choice([f"c{i:02}" for i in range(40)], rows, p=np.arange(1, 41) / 820),
            "f.seats": rng.choice([50.0, 150.0], rows),
        }
    )


def test_roc_auc_comes_with_its_interval_and_value() -> None:
    spec = MonitorSpec(DAY, performance="roc_auc", value="25*true_positive - 5*false_positive")
    rows = labelled()
    scored = score_rows(rows, "binary", [])
    [one] = measure(scored, {"champion": 2_500}, spec, "binary")
    assert one.value is not None
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high
    assert (one.labels, one.predictions) == (2_000, 2_500)
    said = rows["score"] >= 0.5
    hits = int((said & (rows["label"] == 1)).sum())
    assert one.value_sum == 25 * hits - 5 * (int(said.sum()) - hits)


def test_a_variant_without_labels_has_no_value() -> None:
    spec = MonitorSpec(DAY, performance="roc_auc")
    found = measure(score_rows(labelled(), "binary", []), {"champion": 2_000, "frozen": 7}, spec, "binary")
    assert (found[1].value, found[1].labels, found[1].predictions) == (None, 0, 7)


def test_one_class_has_no_auc() -> None:
    rows = labelled().filter(pl.col("label") == 1)
    spec = MonitorSpec(DAY, performance="roc_auc")
    assert measure(score_rows(rows, "binary", []), {"champion": 1}, spec, "binary")[0].value is None


def test_rows_that_cannot_be_scored_are_left_out() -> None:
    rows = labelled(4).with_columns(score=pl.Series([0.5, None, math.nan, 0.7]), label=pl.Series([1.0, 1.0, 1.0, 0.4]))
    assert score_rows(rows, "binary", []).height == 1


def test_regression_has_errors() -> None:
    rows = labelled().with_columns(label=pl.col("score") + 2.0)
    for metric in ("rmse", "mae"):
        spec = MonitorSpec(DAY, performance=metric)
        assert measure(score_rows(rows, "regression", []), {"champion": 1}, spec, "regression")[
            0
        ].value == pytest.approx(2)


def test_multiclass_reads_the_answer() -> None:
    rows = labelled(4).with_columns(
        score=pl.lit(None, pl.Float64),
        label=pl.lit(None, pl.Float64),
        answer=pl.lit('{"class":"a","probabilities":{"a":0.8,"b":0.2}}'),
        label_text=pl.Series(["a", "a", "b", None]),
    )
    scored = score_rows(rows, "multiclass", [])
    found = {
        metric: measure(scored, {"champion": 4}, MonitorSpec(DAY, performance=metric), "multiclass")[0]
        for metric in ("accuracy", "log_loss")
    }
    assert found["accuracy"].value == pytest.approx(2 / 3)
    assert found["log_loss"].value == pytest.approx(-(2 * math.log(0.8) + math.log(0.2)) / 3)
    assert found["accuracy"].labels == 3


def test_segments_are_the_commonest_levels_and_the_rest() -> None:
    spec = MonitorSpec(DAY, performance="accuracy", segments=["carrier", "seats"])
    scored = score_rows(labelled(20_000), "binary", spec.segments)
    found = segment_performance(scored, "champion", spec, "binary")
    assert len([name for name in found if name.startswith("carrier=")]) == 21
    named = sum(one.labels for name, [one] in found.items() if name.startswith("carrier=") and REST not in name)
    assert found[f"carrier={REST}"][0].labels == 20_000 - named
    assert {"seats=50", "seats=150"} <= set(found)


def test_a_level_has_one_name_whatever_else_the_window_holds() -> None:
    names = [
        score_rows(labelled(4).with_columns(pl.Series("f.seats", seats)), "binary", ["seats"])["s.seats"].to_list()
        for seats in ([1.0, 2.0, -0.0, None], [1.0, 2.5, 0.0, None], [1e20, 1e-7, 3.0, 10.0])
    ]
    assert [sorted(each, key=str) for each in names] == [
        ["0", "1", "2", None],
        ["0", "1", "2.5", None],
        ["10", "1e+20", "1e-7", "3"],
    ]


def test_a_small_segment_shows_no_number() -> None:
    spec = MonitorSpec(DAY, performance="accuracy", segments=["carrier"])
    found = segment_performance(score_rows(labelled(2_000), "binary", ["carrier"]), "champion", spec, "binary")
    small = [one for [one] in found.values() if one.labels < 100]
    assert small
    assert all(one.value is None for one in small)


def test_every_level_has_a_name_that_can_be_stored() -> None:
    """Who may ask for a prediction chooses what stands in the log; one row must not keep a window from settling."""
    levels = pl.Series(["A\0A", "A\\x00A", "b" * 300_000, *["UA"] * 1_997])
    rows = labelled().with_columns(levels.alias("f.carrier"))
    spec = MonitorSpec(DAY, performance="roc_auc", segments=["carrier"])
    found = segment_performance(score_rows(rows, "binary", ["carrier"]), "champion", spec, "binary")
    check_content("window", found)
    assert found["carrier=A\\x00A"][0].labels == 2
    assert sum(one.labels for (one,) in found.values()) == 2_000
    assert max(map(len, found)) < 200
