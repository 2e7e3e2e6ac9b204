"""Rows made elsewhere: taken as a whole or not at all, without what is personal."""

from typing import Any

import pytest

from loopwright.gateway.ingest import read_external, read_labels
from loopwright.kernel.errors import InvalidInput

NOW = 1_000_000


def columns(rows: list[dict[str, Any]], **options: Any) -> dict[str, list[Any]]:
    batch = read_external(rows, NOW, is_replay=False, **options)
    return {name: values for (name, _), values in zip(batch.layout.columns, batch.columns, strict=True)}


def test_personal_features_are_left_out() -> None:
    rows = [{"id": 7, "score": 0.5, "features": {"age": 31, "income": 2, "region": "n"}}, {"id": "b", "score": True}]
    found = columns(rows, personal=["age"])
    assert found["prediction_id"] == ["7", "b"]
    assert found["score"] == [0.5, 1.0]
    assert (found["f.income"], found["f.region"]) == ([2.0, None], ["n", None])
    assert "f.age" not in found
    assert "f.age" in columns(rows)


def test_a_class_may_be_the_answer() -> None:
    assert columns([{"id": "a", "answer": "cat"}])["answer"] == ['"cat"']


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"score": 0.5}, r"predictions\[0\].id"),
        ({"id": "a"}, r"a score or an answer; field: predictions\[0\].score"),
        ({"id": "a", "score": "high"}, r"not a number; field: predictions\[0\].score; value: high"),
        ({"id": "a", "score": 0.5, "features": [1]}, r"predictions\[0\].features"),
        ({"id": "a", "score": 0.5, "features": {"x": [1]}}, r"predictions\[0\].features.x"),
        ({"id": "a", "score": 0.5, "event_at": "noon"}, r"predictions\[0\].event_at"),
    ],
)
def test_a_row_that_breaks_a_rule_is_told_by_its_place(row: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        columns([row])


def test_replay_projects_are_told_when_it_was() -> None:
    with pytest.raises(InvalidInput, match="each row says when it happened"):
        read_external([{"id": "a", "score": 0.5}], NOW, is_replay=True)
    with pytest.raises(InvalidInput, match=r"labels\[0\].event_at"):
        read_labels([{"prediction_id": "a", "label": 1}], NOW, is_replay=True)
