"""From named columns to the matrix a model reads: one way for training, batch and single requests.

Numbers stay, booleans become 0 and 1, a category becomes its place in the signature; what is missing or unknown is NaN.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.kernel.errors import InvalidInput
from loopwright.registry.types import InputColumn, Signature

NAN = math.nan
_EXACT = 2**53
_MOST_KEPT = 256
_PLAIN: dict[str, set[type]] = {"number": {float, int, type(None)}, "boolean": {bool, type(None)}}
_RULES = {
    "number": "a finite number, or null",
    "boolean": "true, false, or null",
    "category": "a text, or null",
    "text": "models read numbers, booleans and categories",
}


class Encoder:
    """Encodes columns for one signature."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.codes = [
            (column, {level: float(index) for index, level in enumerate(column.categories)})
            for column in signature.inputs
        ]
        self._single = [
            (column.name, column.kind == "number", codes if column.kind == "category" else None)
            for column, codes in self.codes
        ]

    def encode(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the matrix, float64 of shape (n, k) in C order.

        Args:
            columns: Equally long sequences or arrays by name; those the model does not read are left alone.

        Raises:
            InvalidInput: A column is missing, or a value has the wrong type; names ``rows[i].column``.
        """
        if not self.codes:
            return np.empty((len(next(iter(columns.values()), ())), 0))
        try:
            first = columns[self.codes[0][0].name]
            if len(first) == 1:
                return self._encode_one(columns)
            matrix = np.empty((len(first), len(self.codes)))
            for index, (column, codes) in enumerate(self.codes):
                values = columns[column.name]
                if len(values) != len(first):
                    raise InvalidInput(
                        "columns differ in length", field=column.name, value=len(values), rule=f"{len(first)}"
                    )
                matrix[:, index] = _encode_column(column, codes, values)
        except KeyError as error:
            raise InvalidInput(
                "a column the model reads is missing", field=f"rows.{error.args[0]}", rule="send it; null where unknown"
            ) from None
        return self._checked(matrix)

    def _checked(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        if np.isinf(matrix).any():
            row, place = np.argwhere(np.isinf(matrix))[0]
            raise _wrong(self.codes[place][0], int(row), float(matrix[row, place]))
        return matrix

    def _encode_one(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        row: list[float] = []
        left_open = []
        for name, is_number, codes in self._single:
            values = columns[name]
            value: Any = values[0] if len(values) == 1 else columns
            kind = type(value)
            if is_number and (kind is float or (kind is int and -_EXACT < value < _EXACT)):
                row.append(value)
            elif codes is not None and kind is str:
                row.append(codes.get(value, NAN))
            else:
                if value is not None:
                    left_open.append(len(row))
                row.append(NAN)
        matrix = np.array([row], dtype=np.float64)
        for place in left_open:
            column, known = self.codes[place]
            values = columns[column.name]
            if len(values) != 1:
                raise InvalidInput("columns differ in length", field=column.name, value=len(values), rule="1")
            (matrix[0, place],) = _encode_column(column, known, values)
        return self._checked(matrix)


_encoders: dict[int, Encoder] = {}


def encode(signature: Signature, columns: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the matrix a model of this signature reads, float64 of shape (n, k) in C order.

    Raises:
        InvalidInput: A column is missing, or a value has the wrong type; names ``rows[i].column``.

    >>> signature = Signature([InputColumn("x", "number"), InputColumn("c", "category", ["a", "b"])], "binary")
    >>> encode(signature, {"x": [1, None], "c": ["b", "new"]}).tolist()
    [[1.0, 1.0], [nan, nan]]
    """
    # Structs with lists have no hash. The encoder holds on to its signature, so the id cannot come to mean another one.
    encoder = _encoders.get(id(signature))
    if encoder is None:
        if len(_encoders) >= _MOST_KEPT:
            _encoders.clear()
        encoder = _encoders[id(signature)] = Encoder(signature)
    return encoder.encode(columns)


def _encode_column(column: InputColumn, codes: dict[str, float], values: Any) -> Any:
    if column.kind in ("number", "boolean"):
        return _encode_numbers(column, values)
    if column.kind == "text":
        raise InvalidInput("this model reads free text", field=column.name, rule=_RULES["text"])
    listed = values if isinstance(values, list | tuple) else _listed(values)
    if set(map(type, listed)) <= {str, type(None)}:
        get = codes.get
        return [get(value, NAN) for value in listed]
    return [_code(column, codes, row, value) for row, value in enumerate(listed)]


def _encode_numbers(column: InputColumn, values: Any) -> Any:
    if not isinstance(values, list | tuple):
        if not isinstance(values, np.ndarray) and hasattr(values, "to_numpy"):
            values = values.to_numpy()
        if isinstance(values, np.ndarray) and values.dtype.kind in ("fiu" if column.kind == "number" else "b"):
            return values
        values = _listed(values)
    kinds = set(map(type, values))
    if kinds == {float} and column.kind == "number":
        return values
    if kinds <= _PLAIN[column.kind]:
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:
            pass
    return [_number(column, row, value) for row, value in enumerate(values)]


def _listed(values: Any) -> Sequence[Any]:
    for name in ("to_list", "tolist"):
        if hasattr(values, name):
            listed: list[Any] = getattr(values, name)()
            return listed
    return list(values)


def _number(column: InputColumn, row: int, value: Any) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NAN
    is_boolean = isinstance(value, bool | np.bool_)
    accepted = is_boolean if column.kind == "boolean" else isinstance(value, int | float | np.integer | np.floating)
    if not accepted or (is_boolean and column.kind == "number"):
        raise _wrong(column, row, value)
    try:
        return float(value)
    except OverflowError:
        raise _wrong(column, row, value) from None


def _code(column: InputColumn, codes: dict[str, float], row: int, value: Any) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NAN
    if not isinstance(value, str | int | np.integer | np.bool_):
        raise _wrong(column, row, value)
    return codes.get(str(value), NAN)


def _wrong(column: InputColumn, row: int, value: object) -> InvalidInput:
    return InvalidInput(
        f"{column.name} takes a {column.kind}",
        field=f"rows[{row}].{column.name}",
        value=value,
        rule=_RULES[column.kind],
    )
