"""Labels and predictions made elsewhere: checked as a whole, then spooled."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from loopwright.gateway.answering.inputs import Row, RowKey, RowKeys
from loopwright.gateway.log.batches import Batch, Layout
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.values import Window, read_id, read_key, read_moment, read_number, window_at
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge
from loopwright.kernel.tasks import class_name
from loopwright.store.streams import FEATURE_PREFIX, KEYED_LABELS, LABELS, PREDICTIONS

MOST_ROWS = 100_000
MOST_FEATURES = 2_000
MOST_CELLS = 10_000_000
"""Most rows times features of one body; callers name the features of models served elsewhere."""
MOST_LETTERS_OF_NAME = 500
_LABELS, _KEYED_LABELS = Layout.of(LABELS), Layout.of(KEYED_LABELS)
_OF_LABELS = {"label", "label_text", "event_at"}
"""What fields of a label say, whatever the rows call so."""
_ELSEWHERE = {"release": 0, "variant": "external", "model_version": 0, "is_shadow": False}
Kind = Literal["text", "number", "boolean"]


class IngestBody(msgspec.Struct):
    """Rows under the name that says what they are."""

    rows: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []


class RowsNotTaken(LoopwrightError):
    """Taking rows failed for a reason that is no fault of theirs; nothing was taken."""

    code = "rows_not_taken"
    http_status = 500


class Labels(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """What labels of one deployment look like.

    Args:
        task: What its model answers; empty where it is not known.
        classes: Their names in the order of the model's outputs; empty where they are not known.
        are_ids_ours: True where its predictions are made here, so that their ids are ours.
        key: What the keys of its rows are made of.
    """

    task: str
    classes: Sequence[str] = ()
    are_ids_ours: bool = False
    key: RowKey = RowKey()

    def read(self, value: Any, field: str) -> tuple[float | None, str | None]:
        """Return a label as the log keeps it: a number, or the name of a class.

        Raises:
            InvalidInput: It is no outcome of this task.
        """
        if not isinstance(value, bool | int | float | str) or value == "":
            raise InvalidInput("a label is a value", field=field, value=value, rule="number or text")
        if self.task == "multiclass":
            return None, self._class(value, field)
        if self.task == "binary":
            return self._side(value, field), None
        is_quantity = self.task in ("regression", "forecast")
        if is_quantity and isinstance(value, bool | str):
            raise self._wrong(value, field, "a number")
        if isinstance(value, str):
            return None, value
        return (float(value) if isinstance(value, bool) else read_number(value, field)), None

    def _side(self, value: bool | float | str, field: str) -> float:
        if isinstance(value, str) and len(self.classes) == 2 and (known := self._known(value)) is not None:
            return float(self.classes.index(known))
        if isinstance(value, str) or value not in (0, 1):
            named = f", {self.classes[0]} or {self.classes[1]} as text" if len(self.classes) == 2 else ""
            raise self._wrong(value, field, f"true or false, 1 or 0{named}")
        return float(value)

    def _class(self, value: bool | float | str, field: str) -> str:
        """Return the name of a class; one that the model has not seen is an outcome too, and every answer misses it."""
        if (known := self._known(value)) is not None:
            return known
        if isinstance(value, str):
            return value
        if self.classes or isinstance(value, bool) or value != value // 1:
            raise self._wrong(value, field, f"one of {', '.join(self.classes)}" if self.classes else "a class as text")
        return class_name(value)

    def _known(self, value: bool | float | str) -> str | None:
        """Return the class that a value names, as the model's signature has it."""
        return self._by_name.get(str(value)) or self._by_name.get(class_name(value))

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """The classes by their names, also by those that whole numbers have without a point."""
        alike = {class_name(known): known for known in reversed(self.classes)}
        return alike | {known: known for known in self.classes}

    def _wrong(self, value: object, field: str, rule: str) -> InvalidInput:
        return InvalidInput(f"this is no outcome of a {self.task} deployment", field=field, value=value, rule=rule)


def rows_of(body: IngestBody, kind: str) -> Sequence[Row]:
    """Return the rows of a body, under the name of their kind or plainly ``rows``.

    Raises:
        InvalidInput: There are none.
        TooLarge: There are too many.
    """
    named = {"labels": body.labels, "predictions": body.predictions}.get(kind)
    rows = named or body.rows
    if not rows:
        raise InvalidInput("no rows came", field="rows", rule="at least one")
    if len(rows) > MOST_ROWS:
        raise TooLarge("too many rows at once", field="rows", value=len(rows), rule=f"at most {MOST_ROWS}")
    return rows


def read_labels(rows: Sequence[Row], stamp: Stamp, *, is_replay: bool, wanted: Labels) -> tuple[str, Batch]:
    """Return labels as a spool batch, and the kind of stream that it is of.

    Each has a ``label`` (number, boolean or text) and an ``event_at``. All name their predictions by ``prediction_id``,
    or all their rows, by the fields that the key is made of or by ``row_key``.

    Raises:
        InvalidInput: A row breaks a rule; names ``labels[i].field``.
    """
    window = window_at(stamp.at_us, is_replay=is_replay)
    event_at = [_moment(row, stamp.at_us, f"labels[{index}]", window, is_replay) for index, row in enumerate(rows)]
    numbers: list[float | None] = []
    texts: list[str | None] = []
    for index, row in enumerate(rows):
        number, text = wanted.read(row.get("label", row.get("label_text")), f"labels[{index}].label")
        numbers.append(number)
        texts.append(text)
    named: dict[str, list[Any]] = {
        "label_id": stamp.ulids(len(rows)),
        "label": numbers,
        "label_text": texts,
        "event_at": event_at,
        "recorded_at": [stamp.at_us] * len(rows),
    }
    if all(row.get("prediction_id") is None for row in rows):
        named["row_key"] = _row_keys(rows, wanted.key)
        return KEYED_LABELS.kind, Batch.of(_KEYED_LABELS, len(rows), named)
    named["prediction_id"] = _prediction_ids(rows, are_ours=wanted.are_ids_ours)
    return LABELS.kind, Batch.of(_LABELS, len(rows), named)


def _prediction_ids(rows: Sequence[Row], *, are_ours: bool) -> list[Any]:
    ids = [read_id(row.get("prediction_id"), f"labels[{index}].prediction_id") for index, row in enumerate(rows)]
    for index, prediction_id in enumerate(ids if are_ours else ()):
        if not prediction_id.startswith("pred_"):
            raise InvalidInput(
                "no prediction of this deployment has such an id",
                field=f"labels[{index}].prediction_id",
                value=prediction_id,
                rule="the prediction_id that came with the answer, pred_…",
                next_step="keep it beside your own id when you ask for the prediction, or name the row by its key",
            )
    return list(ids)


def _row_keys(rows: Sequence[Row], key: RowKey) -> list[Any]:
    """Return the keys of the rows that labels are of, as the log has them."""
    names = ", ".join(key.names) or "row_key"
    for index, row in enumerate(rows):
        for name in (*key.names, "row_key"):
            read_key(row.get(name), f"labels[{index}].{name}")
    field = next((name for name in key.names if name in _OF_LABELS), None)
    for index, row in enumerate(rows if field else ()):
        if all(name in row for name in key.names):
            raise InvalidInput(
                f"{field} is a field of labels and of the key of their rows",
                field=f"labels[{index}].{field}",
                rule="row_key, as the log has it, in place of the fields of the key",
            )
    keys = RowKeys(key).read(rows)
    if not all(keys):
        raise InvalidInput(
            "a label does not say what it is of",
            field=f"labels[{next(index for index, text in enumerate(keys) if not text)}].prediction_id",
            rule=f"prediction_id, or the key of the row: {names}",
        )
    if key.is_personal:
        raise InvalidInput(
            "the keys of these rows are personal, and in no log",
            field=f"labels[0].{names}",
            rule="prediction_id",
            next_step="send the prediction_id that came with the answer",
        )
    return list(keys)


def read_external(rows: Sequence[Row], stamp: Stamp, *, is_replay: bool, personal: Sequence[str] = ()) -> Batch:
    """Return predictions made elsewhere as a spool batch: ``id``, ``event_at``, ``score`` or ``answer``, ``features``.

    Args:
        rows: As they came.
        stamp: When.
        is_replay: True where each row must say when it happened.
        personal: Features that are left out.

    Raises:
        InvalidInput: A row breaks a rule; names ``predictions[i].field``.
        TooLarge: There are too many features.
    """
    window = window_at(stamp.at_us, is_replay=is_replay)
    nothing: list[Any] = [None] * len(rows)
    named: dict[str, list[Any]] = {
        "recorded_at": [stamp.at_us] * len(rows),
        "latency_us": [0] * len(rows),
        "error": nothing,
        "missing": nothing,
        "bucket": nothing,
        **{name: [] for name in ("prediction_id", "row_key", "event_at", "score", "answer")},
    }
    for index, row in enumerate(rows):
        field = f"predictions[{index}]"
        score, answer = row.get("score"), row.get("answer")
        if score is None and answer is None:
            raise InvalidInput("a prediction has a score or an answer", field=f"{field}.score", rule="a number")
        named["prediction_id"].append(read_id(row.get("id"), f"{field}.id"))
        named["row_key"].append(read_key(row.get("row_key"), f"{field}.row_key"))
        named["event_at"].append(_moment(row, stamp.at_us, field, window, is_replay))
        named["score"].append(None if score is None else read_number(score, f"{field}.score"))
        named["answer"].append(None if answer is None else to_json(answer).decode())
    names, features = _features(rows, personal)
    return Batch.of(Layout.of(PREDICTIONS, _ELSEWHERE, names), len(rows), named, features)


def _moment(row: Row, now_us: int, field: str, window: Window, is_replay: bool) -> int:
    value = row.get("event_at")
    if value is not None:
        return read_moment(value, f"{field}.event_at", window)
    if is_replay:
        rule = "ISO 8601 with a zone, or microseconds UTC"
        raise InvalidInput(
            "this project's clock is replayed, so each row says when it happened", field=f"{field}.event_at", rule=rule
        )
    return now_us


def _features(rows: Sequence[Row], personal: Sequence[str]) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    """Return names with dtypes and columns of the rows' ``features``: text, or numbers (booleans as 0 and 1)."""
    columns: dict[str, list[Any]] = {}
    kinds: dict[str, Kind] = {}
    hidden = set(personal)
    for index, row in enumerate(rows):
        features = row.get("features") or {}
        if not isinstance(features, dict):
            raise InvalidInput("features are named values", field=f"predictions[{index}].features", rule="an object")
        for name, value in features.items():
            if value is None or name in hidden:
                continue
            column = columns.get(name)
            if column is None:
                _check_name(name, index)
                _check_width(len(columns) + 1, len(rows))
                column = columns[name] = [None] * len(rows)
            column[index] = _feature(name, value, kinds, f"predictions[{index}].features.{name}")
    names = [(FEATURE_PREFIX + name, "str" if kinds[name] == "text" else "f64") for name in columns]
    return names, list(columns.values())


def _check_name(name: str, index: int) -> None:
    """Refuse a feature that no page, reference or table could name."""
    if "\0" in name or len(name) > MOST_LETTERS_OF_NAME:
        rule = f"names of at most {MOST_LETTERS_OF_NAME} letters, none of them NUL"
        field = f"predictions[{index}].features"
        raise InvalidInput("a feature cannot be named so", field=field, value=name, rule=rule)


def _feature(name: str, value: Any, kinds: dict[str, Kind], field: str) -> float | str:
    """Return a value as the log keeps it; all values of a feature are of one kind."""
    kind: Kind = "text" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"
    before = kinds.setdefault(name, kind)
    if before != kind:
        rule = f"one kind a column; it is a {before} in other rows"
        raise InvalidInput("this column holds another kind of value in other rows", field=field, value=value, rule=rule)
    if kind == "text":
        return str(value)
    return float(value) if kind == "boolean" else read_number(value, field)


def _check_width(features: int, rows: int) -> None:
    if features > MOST_FEATURES or features * rows > MOST_CELLS:
        raise TooLarge(
            "these rows name too many features",
            field="predictions",
            value=features,
            rule=f"at most {MOST_FEATURES} features, and {MOST_CELLS:,} values, in one request",
            next_step="send fewer rows at a time, each with the features that the model reads",
        )
