"""Columns to matrix: the same values give the same row however they come."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.errors import InvalidInput
from loopwright.registry import InputColumn, Signature
from loopwright.registry.encoding import encode

SIGNATURE = Signature(
    [
        InputColumn("distance", "number"),
        InputColumn("carrier", "category", ["AA", "UA", "7"]),
        InputColumn("is_holiday", "boolean"),
    ],
    "binary",
)
NAN = float("nan")


def columns(**changed: list[object]) -> dict[str, list[object]]:
    return {"distance": [100.5], "carrier": ["UA"], "is_holiday": [True], "extra": ["ignored"], **changed}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [100.5, 1, 1]),
        ({"distance": [7]}, [7, 1, 1]),
        ({"distance": [None], "carrier": [None], "is_holiday": [None]}, [NAN, NAN, NAN]),
        ({"distance": [NAN], "carrier": [NAN]}, [NAN, NAN, 1]),
        ({"carrier": ["ZZ"], "is_holiday": [False]}, [100.5, NAN, 0]),
        ({"carrier": [7]}, [100.5, 2, 1]),
        ({"distance": [np.float32(0.5)], "is_holiday": [np.bool_(True)]}, [0.5, 1, 1]),
        ({"distance": [2**60]}, [float(2**60), 1, 1]),
    ],
)
def test_one_row_and_many_rows_agree(changed: dict[str, list[object]], expected: list[float]) -> None:
    given_columns = columns(**changed)
    one = encode(SIGNATURE, given_columns)
    many = encode(SIGNATURE, {name: values * 3 for name, values in given_columns.items()})
    np.testing.assert_array_equal(one, [expected])
    np.testing.assert_array_equal(many, [expected] * 3)
    assert one.dtype == np.float64
    assert many.flags.c_contiguous


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"distance": ["100"]}, "distance"),
        ({"distance": [True]}, "distance"),
        ({"distance": [float("inf")]}, "distance"),
        ({"distance": [10**400]}, "distance"),
        ({"distance": [[1]]}, "distance"),
        ({"carrier": [1.5]}, "carrier"),
        ({"carrier": [{"a": 1}]}, "carrier"),
        ({"is_holiday": [1]}, "is_holiday"),
        ({"is_holiday": [1.0]}, "is_holiday"),
        ({"is_holiday": ["yes"]}, "is_holiday"),
    ],
)
def test_a_wrong_type_names_row_and_column(changed: dict[str, list[object]], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        encode(SIGNATURE, columns(**changed))
    assert caught.value.field == f"rows[0].{field}"
    good, bad = columns(), columns(**changed)
    with pytest.raises(InvalidInput) as caught:
        encode(SIGNATURE, {name: [*good[name] * 2, *bad[name]] for name in good})
    assert caught.value.field == f"rows[2].{field}"


def test_missing_and_ragged_columns_are_named() -> None:
    with pytest.raises(InvalidInput, match="missing") as caught:
        encode(SIGNATURE, {"distance": [1.0]})
    assert caught.value.field == "rows.carrier"
    for count in (1, 2):
        with pytest.raises(InvalidInput, match="differ in length"):
            encode(SIGNATURE, {**columns(distance=[1.0] * count), "carrier": ["UA"] * 3})


def test_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="free text"):
        encode(Signature([InputColumn("note", "text")], "binary"), {"note": ["x"]})


def test_frames_and_arrays_read_like_lists() -> None:
    listed = {"distance": [1.5, None, 3.0], "carrier": ["AA", None, "ZZ"], "is_holiday": [True, False, None]}
    expected = encode(SIGNATURE, listed)
    polars = pl.DataFrame(listed)
    pandas = pd.DataFrame(listed)
    pandas["carrier"] = pandas["carrier"].astype("category")
    np.testing.assert_array_equal(encode(SIGNATURE, {name: polars[name] for name in listed}), expected)
    np.testing.assert_array_equal(encode(SIGNATURE, {name: pandas[name] for name in listed}), expected)
    arrays = {name: np.array(values, dtype=object) for name, values in listed.items()}
    np.testing.assert_array_equal(encode(SIGNATURE, arrays), expected)
    numbers = Signature([InputColumn("a", "number"), InputColumn("b", "boolean")], "binary")
    packed = encode(numbers, {"a": np.arange(3, dtype=np.int32), "b": np.array([True, False, True])})
    assert packed.tolist() == [[0, 1], [1, 0], [2, 1]]


def test_no_rows_and_no_columns() -> None:
    assert encode(SIGNATURE, {"distance": [], "carrier": [], "is_holiday": []}).shape == (0, 3)
    assert encode(Signature([], "regression"), {"x": [1, 2]}).shape == (2, 0)


@given(st.lists(st.one_of(st.none(), st.floats(allow_infinity=False), st.integers(-(2**70), 2**70)), min_size=1))
def test_numbers_come_through_to_the_bit(values: list[float | None]) -> None:
    signature = Signature([InputColumn("x", "number")], "regression")
    expected = np.array([[NAN if value is None else float(value)] for value in values])
    assert encode(signature, {"x": values}).tobytes() == expected.tobytes()
