"""Labels and predictions made elsewhere: checked as a whole, then spooled."""

from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import Any, NamedTuple

import msgspec

from loopwright.gateway.inputs import Row, read_moment
from loopwright.gateway.spool import Batch, Layout
from loopwright.gateway.variants import PREDICTION_COLUMNS
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, TooLarge
from loopwright.kernel.ids import new_ulids

MOST_ROWS = 100_000
_LONGEST_ID = 200
_LABELS = Layout(
    (
        ("label_id", "str"),
        ("prediction_id", "str"),
        ("label", "f64"),
        ("label_text", "str"),
        ("event_at", "i64"),
        ("recorded_at", "i64"),
    )
)
_EXTERNAL_CONSTANTS = (
    ("release", "i64", 0),
    ("variant", "str", "external"),
    ("model_version", "i64", 0),
    ("is_shadow", "bool", False),
)


class IngestBody(msgspec.Struct):
    """Rows under the name that says what they are."""

    rows: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []


class Labels(NamedTuple):
    """What labels of one deployment look like.

    Args:
        task: What its model answers; empty where it is not known.
        classes: Their names in the order of the model's outputs; empty where they are not known.
        are_ids_ours: True where its predictions are made here, so that their ids are ours.
    """

    task: str
    classes: Sequence[str] = ()
    are_ids_ours: bool = False

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
        if not isinstance(value, str):
            return _number(value, field), None
        if self.task in ("regression", "forecast"):
            raise self._wrong(value, field, "a number")
        return None, value

    def _side(self, value: bool | float | str, field: str) -> float:
        if isinstance(value, str) and len(self.classes) == 2 and value in self.classes:
            return float(self.classes.index(value))
        if isinstance(value, str) or value not in (0, 1):
            named = f", {self.classes[0]} or {self.classes[1]} as text" if len(self.classes) == 2 else ""
            raise self._wrong(value, field, f"true or false, 1 or 0{named}")
        return float(value)

    def _class(self, value: bool | float | str, field: str) -> str:
        """Return the name of a class; one that the model has not seen is an outcome too, and every answer misses it."""
        if isinstance(value, str):
            return value
        is_whole = not isinstance(value, bool) and value == value // 1
        names = [str(value), str(int(value))] if is_whole else [str(value)]
        found = next((name for name in names if name in self.classes), None)
        if found is None and is_whole and not self.classes:
            found = names[-1]
        if found is None:
            raise self._wrong(value, field, f"one of {', '.join(self.classes)}" if self.classes else "a class as text")
        return found

    def _wrong(self, value: object, field: str, rule: str) -> InvalidInput:
        return InvalidInput(f"this is no outcome of a {self.task} deployment", field=field, value=value, rule=rule)


def only_rows(*lists: Sequence[Row]) -> Sequence[Row]:
    """Return the one list that holds rows.

    Raises:
        InvalidInput: None does.
        TooLarge: There are too many.
    """
    found = next((rows for rows in lists if rows), [])
    if not found:
        raise InvalidInput("no rows came", field="rows", rule="at least one")
    if len(found) > MOST_ROWS:
        raise TooLarge("too many rows at once", field="rows", value=len(found), rule=f"at most {MOST_ROWS}")
    return found


def read_labels(rows: Sequence[Row], now_us: int, *, is_replay: bool, wanted: Labels) -> Batch:
    """Return labels as a spool batch: ``prediction_id``, ``label`` (number, boolean or text), ``event_at``.

    Raises:
        InvalidInput: A row breaks a rule; names ``labels[i].field``.
    """
    event_at = _moments(rows, now_us, "labels", is_replay=is_replay)
    numbers: list[float | None] = []
    texts: list[str | None] = []
    for place, row in enumerate(rows):
        number, text = wanted.read(row.get("label", row.get("label_text")), f"labels[{place}].label")
        numbers.append(number)
        texts.append(text)
    ids = _ids(rows, "prediction_id", "labels")
    for place, prediction_id in enumerate(ids if wanted.are_ids_ours else ()):
        if not prediction_id.startswith("pred_"):
            raise InvalidInput(
                "no prediction of this deployment has such an id",
                field=f"labels[{place}].prediction_id",
                value=prediction_id,
                rule="the prediction_id that came with the answer, pred_…",
                next_step="keep it beside your own id when you ask for the prediction",
            )
    return Batch(
        _LABELS, len(rows), [new_ulids(len(rows), now_us), ids, numbers, texts, event_at, [now_us] * len(rows)]
    )


def read_external(rows: Sequence[Row], now_us: int, *, is_replay: bool, personal: Sequence[str] = ()) -> Batch:
    """Return predictions made elsewhere as a spool batch: ``id``, ``event_at``, ``score`` or ``answer``, ``features``.

    Args:
        rows: As they came.
        now_us: Microseconds UTC.
        is_replay: True where each row must say when it happened.
        personal: Features that are left out.

    Raises:
        InvalidInput: A row breaks a rule; names ``predictions[i].field``.
    """
    event_at = _moments(rows, now_us, "predictions", is_replay=is_replay)
    scores = []
    for place, row in enumerate(rows):
        score = row.get("score")
        if score is None and row.get("answer") is None:
            raise InvalidInput(
                "a prediction has a score or an answer", field=f"predictions[{place}].score", rule="a number"
            )
        scores.append(None if score is None else _number(score, f"predictions[{place}].score"))
    answers = [None if row.get("answer") is None else to_json(row["answer"]).decode() for row in rows]
    keys = [None if row.get("row_key") is None else str(row["row_key"]) for row in rows]
    nothing: list[Any] = [None] * len(rows)
    head: list[list[Any]] = [_ids(rows, "id", "predictions"), keys, event_at, [now_us] * len(rows), [0] * len(rows)]
    names, features = _features(rows, personal)
    columns: list[list[Any]] = [*head, scores, answers, nothing, nothing, nothing, *features]
    return Batch(Layout((*PREDICTION_COLUMNS, *names), _EXTERNAL_CONSTANTS), len(rows), columns)


def _moments(rows: Sequence[Row], now_us: int, field: str, *, is_replay: bool) -> list[int]:
    return [_moment(row.get("event_at"), now_us, f"{field}[{i}].event_at", is_replay) for i, row in enumerate(rows)]


def _moment(value: Any, now_us: int, field: str, is_replay: bool) -> int:
    if value is not None:
        return read_moment(value, field)
    if is_replay:
        rule = "ISO 8601 with a zone, or microseconds UTC"
        raise InvalidInput(
            "this project's clock is replayed, so each row says when it happened", field=field, rule=rule
        )
    return now_us


def _ids(rows: Sequence[Row], name: str, field: str) -> list[str]:
    ids = [row.get(name) for row in rows]
    for place, value in enumerate(ids):
        if isinstance(value, int) and not isinstance(value, bool):
            ids[place] = str(value)
        elif not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID:
            rule = f"text of 1 to {_LONGEST_ID} letters"
            raise InvalidInput("this is not an id", field=f"{field}[{place}].{name}", value=value, rule=rule)
    return ids  # type: ignore[return-value]


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            number = inf
        if isfinite(number):
            return number
    raise InvalidInput("this is not a number", field=field, value=value, rule="a finite number")


def _features(rows: Sequence[Row], personal: Sequence[str]) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    """Return names with dtypes and columns of the rows' ``features``: text, or numbers (booleans as 0 and 1)."""
    found = [row.get("features") or {} for row in rows]
    for place, features in enumerate(found):
        if not isinstance(features, dict):
            raise InvalidInput("features are named values", field=f"predictions[{place}].features", rule="an object")
    names, columns = [], []
    for name in dict.fromkeys(name for features in found for name in features if name not in personal):
        values = [features.get(name) for features in found]
        is_text = any(isinstance(value, str) for value in values)
        read: Callable[[Any, str], Any] = _text if is_text else _number
        places = enumerate(values)
        columns.append([None if v is None else read(v, f"predictions[{i}].features.{name}") for i, v in places])
        names.append((f"f.{name}", "str" if is_text else "f64"))
    return names, columns


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput("this column holds text in other rows", field=field, value=value, rule="one kind a column")
    return value
