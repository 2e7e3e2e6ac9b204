"""What a team says of its own files; the rest of it needs a platform: tests/flows/test_external.py."""

from typing import Any

import polars as pl
import pytest

import loopwright as lw
from loopwright.client.external import Columns, External
from loopwright.kernel.errors import InvalidInput

FRAME = pl.DataFrame(
    {
        "id": ["a", "b"],
        "at": [1, 2],
        "p": [0.1, 0.9],
        "age": [31, 64],
        "income": [1.0, float("nan")],
        "region": ["n", "s"],
        "y": [0, None],
    }
)


@pytest.mark.parametrize(
    ("options", "task", "told"),
    [
        ({"score": ""}, "binary", "what does the model answer"),
        ({}, "multiclass", "which column is the class"),
        ({"personal": ["id"]}, "binary", "id cannot be personal"),
        ({"personal": ["age"], "segments": ["age"]}, "binary", "never logged; field: segments; value: age"),
        ({"personal": ["age"], "features": ["age"]}, "binary", "never logged; field: features"),
        ({"zone": "Oslo"}, "binary", "no time zone"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(options: dict[str, Any], task: str, told: str) -> None:
    columns = Columns(**{"id": "id", "time": "at", "score": "p", **options})
    with pytest.raises(InvalidInput, match=told):
        columns.check(task)


def test_what_is_left_are_the_features() -> None:
    columns = Columns(id="id", time="at", score="p", label="y", personal=["age"], segments=["region"])
    assert columns.of_features(FRAME, "the frame") == ["income", "region"]
    with pytest.raises(InvalidInput, match="the frame has no column region"):
        columns.of_features(FRAME.drop("region"), "the frame")


def test_predictions_go_without_what_is_personal(gateway: Any) -> None:
    columns = Columns(id="id", time="at", score="p", label="y", personal=["age"])
    watched = External(lw.connect(gateway.url, project="credit"), "scorecard", "binary", columns)
    assert watched.log(FRAME) == 2
    [(path, body)] = gateway.bodies
    assert path == "/v1/credit/deployments/scorecard/predictions"
    assert body["predictions"] == [
        {"id": "a", "event_at": 1, "score": 0.1, "features": {"income": 1.0, "region": "n"}},
        {"id": "b", "event_at": 2, "score": 0.9, "features": {"income": None, "region": "s"}},
    ]
    with pytest.raises(InvalidInput, match=r"a score is missing; field: rows\[0\].p"):
        watched.log(FRAME.with_columns(p=None))


def test_outcomes_that_are_not_known_yet_are_not_sent(gateway: Any) -> None:
    columns = Columns(id="id", time="at", score="p", label="y", label_time="at")
    watched = External(lw.connect(gateway.url, project="credit"), "scorecard", "binary", columns)
    assert watched.label(FRAME) == 1
    assert gateway.bodies[0][1] == {"labels": [{"prediction_id": "a", "label": 0.0, "event_at": 1}]}


def test_a_class_is_an_answer(gateway: Any) -> None:
    columns = Columns(id="id", time="at", answer="region", label="region", label_time="at", features=[])
    watched = External(lw.connect(gateway.url, project="credit"), "kind", "multiclass", columns)
    watched.log(FRAME)
    watched.label(FRAME)
    assert gateway.bodies[0][1]["predictions"][0] == {"id": "a", "event_at": 1, "answer": "n", "features": {}}
    assert gateway.bodies[1][1]["labels"][1]["label"] == "s"


def test_classes_that_gaps_made_floats_are_whole_numbers(gateway: Any) -> None:
    columns = Columns(id="id", time="at", answer="said", label="was", label_time="at", features=[])
    watched = External(lw.connect(gateway.url, project="credit"), "kind", "multiclass", columns)
    frame = FRAME.with_columns(said=pl.Series([1.0, 2.0]), was=pl.Series([2.0, float("nan")]))
    assert (watched.log(frame), watched.label(frame)) == (2, 1)
    assert [row["answer"] for row in gateway.bodies[0][1]["predictions"]] == ["1", "2"]
    assert [row["label"] for row in gateway.bodies[1][1]["labels"]] == ["2"]
    with pytest.raises(InvalidInput, match="a class is missing"):
        watched.log(frame.with_columns(said=pl.col("was")))
