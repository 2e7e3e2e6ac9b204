"""Facts that gates look at, from rows in hand."""

import numpy as np
import polars as pl
import pytest

from loopwright.features import TrainingSet
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.training.codecs import LoadedModel
from loopwright.loop.training.scoring import judge
from loopwright.registry import InputColumn, Signature
from loopwright.registry.flavours.constant import ConstantModel


def rows(first: int, count: int) -> TrainingSet:
    numbers = np.arange(first, first + count)
    ids, labels = [f"f{number}" for number in numbers], (numbers % 2).astype(float)
    return TrainingSet(
        pl.DataFrame({"row_id": ids, "event_at": numbers, "label": labels, "temp": labels}), label="is_late"
    )


def model(column: str = "temp") -> LoadedModel:
    return LoadedModel(ConstantModel(0.5), Signature([InputColumn(column, "number")], "binary", ["0", "1"]))


def test_overlap_is_counted_by_row_and_unknown_where_the_training_rows_are() -> None:
    known = judge(model(), rows(0, 100), rows(90, 100), model(), rows(50, 10))
    assert (known["overlap_rows"], known["champion_overlap_rows"]) == (10, 10)
    unknown = judge(model(), rows(0, 100), None, model(), None)
    assert (unknown["overlap_rows"], unknown["champion_overlap_rows"]) == (None, None)
    assert judge(model(), rows(0, 100), rows(200, 5))["champion_overlap_rows"] == 0


def test_rows_without_a_models_columns_do_not_measure_it() -> None:
    found = judge(model(), rows(0, 100), rows(200, 5), model("wind"), rows(300, 5))
    assert found["metrics"]["accuracy"] == 0.5
    assert found["champion_metrics"] is None
    with pytest.raises(InvalidInput, match=r"the rows lack columns that the version reads.*wind"):
        judge(model("wind"), rows(0, 100))
