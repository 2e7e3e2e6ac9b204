"""Training sets are frozen from real dataset versions: the same inputs are the same version."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from loopwright.features import TrainingSet
from loopwright.features.freezing import cut_training_set, freeze_training_set
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import InvalidInput

Call = Callable[..., Any]


def test_a_training_set_is_frozen_once_and_reads_back(loaded: Call, worker: Any, small: Any) -> None:
    plan = loaded("features.freeze_plan", service="late")
    assert loaded("features.plan", digest=plan).datasets[0].dtypes["is_late"] == "Boolean"

    def freeze(**more: Any) -> Any:
        return freeze_training_set(
            worker, plan_digest=plan, end_at=24 * HOUR_US, run_requests=small.run_requests, **more
        )

    first = freeze(known_by=24 * HOUR_US, reason="fit")
    assert freeze(known_by=24 * HOUR_US) == first
    assert (first.rows, first.event_at_min, first.event_at_max) == (3, HOUR_US, 8 * HOUR_US)
    assert first.spec.dataset_versions == {"flights": 1, "weather": 1}
    rows = TrainingSet(pl.read_parquet(worker.blobs.path(first.digest)), label=first.label, params={}, ref="")
    assert rows.columns == first.columns
    assert rows.row_ids.to_list() == ["F1", "F2", "F3"]
    assert rows.polars()["carrier_late_share_3h"].to_list() == [None, 1.0, None]

    worker.load("flights", small.flights([("F0", 0, 1, "UA", "JFK", 60.0)]))
    assert freeze(known_by=24 * HOUR_US, dataset_versions={"flights": 1}) == first
    second = freeze(known_by=24 * HOUR_US)
    assert (second.version, second.rows) == (2, 4)
    with pytest.raises(InvalidInput, match="no row has a label"):
        freeze(known_by=0)


def test_a_part_cut_out_of_a_training_set_is_what_would_be_frozen_for_its_time(
    loaded: Call, worker: Any, small: Any
) -> None:
    plan = loaded("features.freeze_plan", service="late")
    place = {"plan_digest": plan, "known_by": 24 * HOUR_US, "run_requests": small.run_requests}
    whole = freeze_training_set(worker, end_at=24 * HOUR_US, **place)
    for start_at, end_at in ((None, 8 * HOUR_US), (8 * HOUR_US, 24 * HOUR_US)):
        part = cut_training_set(worker, whole, start_at=start_at, end_at=end_at)
        assert 0 < part.rows < whole.rows
        assert part == freeze_training_set(worker, start_at=start_at, end_at=end_at, **place)
    with pytest.raises(InvalidInput, match="no row has a label"):
        cut_training_set(worker, whole, start_at=9 * HOUR_US, end_at=24 * HOUR_US)
