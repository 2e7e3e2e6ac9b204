"""From rows of JSON to a model's matrix: moments, row keys, columns, missing reasons."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.data import row_keys
from loopwright.features import FeaturePlan
from loopwright.gateway.values import read_key, read_moment
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput, LoopwrightError
from loopwright.registry import Signature, encode

Row = Mapping[str, Any]
Columns = Mapping[str, Sequence[Any]]
Missing = dict[int, dict[str, str]]
"""For each row with gaps: column -> why the value is missing."""

_PLAIN = {float, int}
NO_VALUE = "NULL"
UNKNOWN_CATEGORY = "UNKNOWN_CATEGORY"


class Encoded(NamedTuple):
    """A batch as the model sees it: float64 (n, k), the raw columns behind it, and what is missing."""

    matrix: NDArray[np.float64]
    columns: Columns
    missing: Missing

    def take(self, own: slice) -> "Encoded":
        """Return the rows from the slice's start to its stop."""
        places = range(own.start, own.stop)
        columns = {name: values[own] for name, values in self.columns.items()}
        missing = {row - own.start: reasons for row, reasons in self.missing.items() if row in places}
        return Encoded(self.matrix[own], columns, missing)


class ColumnReader:
    """Reads the model's columns out of rows that carry them, or of computed features, and encodes them.

    Args:
        signature: The model's inputs in order.
    """

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.names = [column.name for column in signature.inputs]
        self.texts = {column.name for column in signature.inputs if column.kind in ("category", "text")}
        self._are_numbers = all(column.kind == "number" for column in signature.inputs)
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else lambda row: (row[self.names[0]],)

    def read(self, rows: Sequence[Row]) -> Encoded:
        """Encode rows that carry the model's own columns.

        Raises:
            InvalidInput: A column is absent or holds a value of another kind; names ``rows[i].column``.
        """
        try:
            picked = [self._pick(row) for row in rows]
        except KeyError:
            raise self._absent(rows) from None
        if self._are_numbers and set(map(type, chain.from_iterable(picked))) <= _PLAIN:
            try:
                return Encoded(np.array(picked, dtype=np.float64), {}, {})
            except OverflowError:
                pass
        columns = {name: list(values) for name, values in zip(self.names, zip(*picked, strict=True), strict=True)}
        return self.encode(columns, {})

    def encode(self, columns: Columns, missing: Missing) -> Encoded:
        """Encode columns; what becomes NaN and has no reason yet gets one."""
        matrix = encode(self.signature, columns)
        gaps = np.isnan(matrix)
        if gaps.any():
            for row, place in np.argwhere(gaps).tolist():
                name = self.names[place]
                value = columns[name][row]
                is_unknown = name in self.texts and value is not None
                missing.setdefault(row, {}).setdefault(name, UNKNOWN_CATEGORY if is_unknown else NO_VALUE)
        return Encoded(matrix, columns, missing)

    def logged(self, encoded: Encoded) -> list[list[Any]]:
        """Return the columns to log: text as it came, the rest as the float64 the model saw."""
        seen: list[list[Any]] = encoded.matrix.T.tolist()
        if not self.texts:
            return seen
        return [
            [None if value is None else str(value) for value in encoded.columns[name]] if name in self.texts else column
            for name, column in zip(self.names, seen, strict=True)
        ]

    def _absent(self, rows: Sequence[Row]) -> InvalidInput:
        place, name = next((i, name) for i, row in enumerate(rows) for name in self.names if name not in row)
        return absent_field(place, name)


def absent_field(place: int, name: str) -> InvalidInput:
    """Return the error of a row that lacks a field."""
    return InvalidInput(
        "this field is missing",
        field=f"rows[{place}].{name}",
        rule="every field is given",
        next_step="send null where the value is not known",
    )


class Moments:
    """Says when each row happened: the row's own ``event_at`` in replay projects, now elsewhere.

    Args:
        clock: ``wall`` or ``replay``.
        time: The plan's time field, which is the event time in replay projects; empty without a plan.
    """

    def __init__(self, clock: str, time: str) -> None:
        self._is_replay, self._time = clock == "replay", time

    def read(self, rows: Sequence[Row], now_us: list[int]) -> list[int]:
        """Return event times, microseconds UTC; ``now_us`` is each row's wall time.

        Raises:
            InvalidInput: A row gives a time where it may not, or none where it must.
        """
        if self._is_replay:
            return [self._of_row(row, index) for index, row in enumerate(rows)]
        for index, row in enumerate(rows):
            if "event_at" in row:
                raise InvalidInput(
                    "event_at is not taken here",
                    field=f"rows[{index}].event_at",
                    rule="only projects with a replay clock are told the time",
                    next_step="leave it out",
                )
        return now_us

    def _of_row(self, row: Row, index: int) -> int:
        name = "event_at" if row.get("event_at") is not None else self._time
        value = row.get(name)
        if value is None:
            raise InvalidInput(
                "this project's clock is replayed, so a request says when it happens",
                field=f"rows[{index}].{self._time or 'event_at'}",
                rule="ISO 8601 with a zone, or microseconds UTC",
            )
        return read_moment(value, f"rows[{index}].{name}")


class RowKey(msgspec.Struct, frozen=True, array_like=True):
    """What a row's key is made of: fields in order, those that are moments, and the zone of moments that tell none.

    A key with a part that ``is_personal`` is in no log.
    """

    names: list[str] = []
    times: list[str] = []
    zone: str | None = None
    is_personal: bool = False

    @classmethod
    def of(cls, plan: FeaturePlan | None, personal: Sequence[str] = ()) -> "RowKey":
        """Return the key of a plan's rows; no fields where there is none."""
        if plan is None:
            return cls()
        is_personal = not set(plan.key).isdisjoint(personal)
        if not plan.datasets:
            return cls(plan.key, is_personal=is_personal)
        spine = plan.datasets[0]
        # Declared times are moments before the dataset has a version that says so.
        moments = {spine.time, *(moment.column for moment in spine.known_at.values())}
        moments |= {name for name, dtype in spine.dtypes.items() if dtype.startswith("Datetime")}
        return cls(plan.key, [name for name in plan.key if name in moments], spine.zone, is_personal)


class RowKeys:
    """The caller's own id of each row: the key as training writes it, else the field ``row_key``."""

    def __init__(self, key: RowKey) -> None:
        self._key, self._times, self._zone = key.names, set(key.times), key.zone

    def read(self, rows: Sequence[Row]) -> list[str | None]:
        """Return one text or None a row."""
        return [self._of_row(row, index) for index, row in enumerate(rows)]

    def _of_row(self, row: Row, index: int) -> str | None:
        parts = [row.get(name) for name in self._key]
        if not parts or any(part is None for part in parts):
            given = row.get("row_key")
            return given if given is None or type(given) is str else read_key(given, f"rows[{index}].row_key")
        return row_keys.join_parts([self._text(name, part) for name, part in zip(self._key, parts, strict=True)])

    def _text(self, name: str, part: Any) -> str:
        if name in self._times:
            try:
                return str(parse_moment(part, name, zone=self._zone))
            except LoopwrightError:
                return str(part)
        return row_keys.part_text(part)
