"""Rows made elsewhere: taken as a whole or not at all, without what is personal."""

from typing import Any

import pytest

from loopwright.gateway.answering.inputs import RowKey, RowKeys
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.taking import ingest
from loopwright.gateway.taking.ingest import Labels, read_external, read_labels
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput, TooLarge
from loopwright.kernel.tasks import class_name

NOW = Stamp.now(parse_moment("2026-03-01T12:00:00Z"))


def columns(rows: list[dict[str, Any]], **options: Any) -> dict[str, list[Any]]:
    batch = read_external(rows, NOW, is_replay=False, **options)
    return {name: values for (name, _), values in zip(batch.layout.columns, batch.columns, strict=True)}


def test_personal_features_are_left_out() -> None:
    rows = [{"id": 7, "score": 0.5, "features": {"age": 31, "income": 2, "region": "n"}}, {"id": "b", "score": 1}]
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
        ({"id": "a", "score": True}, r"not a number; field: predictions\[0\].score"),
        ({"id": "a", "score": 2**53 + 1}, r"would be rounded; field: predictions\[0\].score"),
        ({"id": "a", "score": 10**400}, r"not a number; field: predictions\[0\].score"),
        ({"id": "a", "score": 0.5, "features": {"x": 2**60 + 1}}, r"would be rounded"),
        ({"id": "a\0", "score": 0.5}, r"not an id; field: predictions\[0\].id"),
        ({"id": True, "score": 0.5}, r"not an id"),
        ({"id": "a", "score": 0.5, "features": {"x\0": 1}}, r"cannot be named so; field: predictions\[0\].features"),
        ({"id": "a", "score": 0.5, "features": {"x" * 501: 1}}, r"at most 500 letters"),
        ({"id": "a", "score": 0.5, "row_key": [1]}, r"not a key"),
    ],
)
def test_a_row_that_breaks_a_rule_is_told_by_its_place(row: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        columns([row])


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("0001-01-01T00:00:00Z", "out of range"),
        ("2126-01-01T00:00:00Z", "out of range"),
        ("2026-03-03T12:00:00Z", "out of range"),
        (1_772_366_400, "no microseconds"),
        (1_772_366_400_000, "no microseconds"),
        (0, "no microseconds"),
        (True, "not a moment"),
        (1.5, "not a moment"),
        (10**30, "out of range"),
        ("2026-03-01", "a day and no moment"),
        ("20260301", "a day and no moment"),
        ("2026-03-01T12:00:00", "no time zone"),
        ("", "not a moment"),
    ],
)
def test_a_moment_that_cannot_be_meant_is_refused(moment: Any, told: str) -> None:
    row = {"prediction_id": "a", "label": 1, "event_at": moment}
    with pytest.raises(InvalidInput, match=told) as refused:
        read_labels([row], NOW, is_replay=False, wanted=Labels("binary"))
    assert refused.value.field == "labels[0].event_at"


def test_a_moment_may_be_long_ago_or_a_little_ahead() -> None:
    moments = ["1950-01-01T00:00:00Z", "2026-03-02T11:00:00Z", "2026-03-01T13:00:00+01:00", 1_772_366_400_000_000]
    rows = [{"id": str(place), "score": 1, "event_at": moment} for place, moment in enumerate(moments)]
    assert columns(rows)["event_at"][2:] == [1_772_366_400_000_000] * 2


def test_a_feature_is_of_one_kind() -> None:
    for pair in (("a", 1), (1, True), (False, "b")):
        rows = [{"id": str(place), "score": 1, "features": {"x": value}} for place, value in enumerate(pair)]
        with pytest.raises(InvalidInput, match="another kind") as refused:
            columns(rows)
        assert refused.value.field == "predictions[1].features.x"
    assert columns([{"id": "a", "score": 1, "features": {"x": True}}])["f.x"] == [1.0]


def test_features_cost_what_they_hold() -> None:
    rows = [{"id": str(number), "score": 1, "features": {f"f{number}": 1}} for number in range(4_000)]
    with pytest.raises(TooLarge, match="too many features"):
        columns(rows)
    wide = [{"id": str(number), "score": 1, "features": {f"f{number % 1_000}": 1}} for number in range(4_000)]
    assert len(columns(wide)) == 10 + 1_000


def test_replay_projects_are_told_when_it_was() -> None:
    with pytest.raises(InvalidInput, match="each row says when it happened"):
        read_external([{"id": "a", "score": 0.5}], NOW, is_replay=True)
    with pytest.raises(InvalidInput, match=r"labels\[0\].event_at"):
        read_labels([{"prediction_id": "a", "label": 1}], NOW, is_replay=True, wanted=Labels("binary"))


BINARY, NAMED = Labels("binary"), Labels("binary", ["no", "yes"])
DIGITS, ANY_CLASS = Labels("multiclass", ["0", "1", "2"]), Labels("multiclass")


@pytest.mark.parametrize(
    ("wanted", "label", "kept"),
    [
        (BINARY, True, (1.0, None)),
        (BINARY, 0, (0.0, None)),
        (BINARY, 1.0, (1.0, None)),
        (NAMED, "yes", (1.0, None)),
        (NAMED, False, (0.0, None)),
        (DIGITS, 1, (None, "1")),
        (DIGITS, 2.0, (None, "2")),
        (DIGITS, "7", (None, "7")),
        (DIGITS, "2.0", (None, "2")),
        (Labels("multiclass", ["1.0", "2.0"]), 1, (None, "1.0")),
        (Labels("multiclass", ["1.0", "2.0"]), "2", (None, "2.0")),
        (ANY_CLASS, 3, (None, "3")),
        (ANY_CLASS, "cat", (None, "cat")),
        (Labels("regression"), -3.5, (-3.5, None)),
        (Labels("other"), "x", (None, "x")),
        (Labels(""), 2, (2.0, None)),
    ],
)
def test_a_label_is_kept_as_its_task_reads_it(wanted: Labels, label: Any, kept: Any) -> None:
    kind, batch = read_labels([{"prediction_id": "a", "label": label}], NOW, is_replay=False, wanted=wanted)
    assert kind == "labels"
    found = {name: values[0] for (name, _), values in zip(batch.layout.columns, batch.columns, strict=True)}
    assert (found["label"], found["label_text"]) == kept


def test_a_label_costs_the_same_however_many_classes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(ingest, "class_name", lambda value: asked.append(value) or class_name(value))
    wanted = Labels("multiclass", [f"{number}.0" for number in range(50)])
    rows = [{"prediction_id": "a", "label": row % 50 if row % 2 else f"unseen {row}"} for row in range(100)]
    read_labels(rows, NOW, is_replay=False, wanted=wanted)
    assert len(asked) <= len(rows) + len(wanted.classes)


@pytest.mark.parametrize(
    ("wanted", "label", "rule"),
    [
        (BINARY, "late", "true or false, 1 or 0"),
        (BINARY, 7, "true or false, 1 or 0"),
        (NAMED, "late", "no or yes as text"),
        (DIGITS, 7, "0, 1, 2"),
        (DIGITS, 1.5, "0, 1, 2"),
        (ANY_CLASS, True, "a class as text"),
        (Labels("regression"), "3.5", "a number"),
        (Labels("regression"), float("inf"), "a finite number"),
    ],
)
def test_a_label_that_could_not_be_counted_is_refused(wanted: Labels, label: Any, rule: str) -> None:
    rows = [{"prediction_id": "a", "label": 0 if wanted.task != "multiclass" else "0"}]
    with pytest.raises(InvalidInput) as refused:
        read_labels([*rows, {"prediction_id": "b", "label": label}], NOW, is_replay=False, wanted=wanted)
    assert refused.value.field == "labels[1].label"
    assert rule in str(refused.value)


def test_an_id_that_no_prediction_of_ours_has_is_refused() -> None:
    ours = Labels("binary", are_ids_ours=True)
    with pytest.raises(InvalidInput, match="came with the answer"):
        read_labels([{"prediction_id": "case-1", "label": 1}], NOW, is_replay=False, wanted=ours)
    rows = [{"prediction_id": "pred_01HXZ0000000000000000000AA", "label": 1}]
    assert read_labels(rows, NOW, is_replay=False, wanted=ours)[1].rows == 1


KEYED = Labels("binary", are_ids_ours=True, key=RowKey(["carrier", "left_at"], ["left_at"], "Europe/Berlin"))


def test_a_label_may_name_its_row_as_predictions_do() -> None:
    rows = [
        {"carrier": "UA|1", "left_at": "2013-03-01T01:00:00", "label": True, "tail": "N1"},
        {"carrier": "DL", "left_at": "2013-03-01T00:00:00Z", "label": 0},
        {"row_key": "as the log has it", "label": 1},
    ]
    kind, batch = read_labels(rows, NOW, is_replay=False, wanted=KEYED)
    found = {name: values for (name, _), values in zip(batch.layout.columns, batch.columns, strict=True)}
    assert kind == "keyed_labels"
    midnight = parse_moment("2013-03-01T00:00:00Z")
    assert found["row_key"] == [f"UA\\|1|{midnight}", f"DL|{midnight}", "as the log has it"]
    assert found["row_key"] == RowKeys(KEYED.key).read(rows)
    assert found["label"] == [1.0, 0.0, 1.0]
    kind, batch = read_labels([{"row_key": 7, "label": 1}], NOW, is_replay=False, wanted=BINARY)
    assert batch.columns[[name for name, _ in batch.layout.columns].index("row_key")] == ["7"]


@pytest.mark.parametrize(
    ("wanted", "rows", "field", "told"),
    [
        (KEYED, [{"carrier": "UA", "label": 1}], "labels[0].prediction_id", "the key of the row: carrier, left_at"),
        (KEYED, [{"carrier": [1], "left_at": "x", "label": 1}], "labels[0].carrier", "not a key"),
        (BINARY, [{"row_key": "a", "label": 1}, {"label": 1}], "labels[1].prediction_id", "row_key"),
        (KEYED, [{"row_key": "a", "label": 1}, {"prediction_id": "pred_1", "label": 1}], "labels[0].prediction_id", ""),
        (
            Labels("binary", key=RowKey(["sensor", "event_at"], ["event_at"])),
            [{"row_key": "a", "label": 1}, {"sensor": 1, "event_at": "2013-03-01T00:00:00Z", "label": 1}],
            "labels[1].event_at",
            "row_key",
        ),
        (
            Labels("binary", key=RowKey(["tax_id"], is_personal=True)),
            [{"tax_id": 7, "label": 1}],
            "labels[0].tax_id",
            "",
        ),
    ],
)
def test_a_label_that_names_nothing_is_refused(
    wanted: Labels, rows: list[dict[str, Any]], field: str, told: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_labels(rows, NOW, is_replay=False, wanted=wanted)
    assert refused.value.field == field
    assert told in str(refused.value)
