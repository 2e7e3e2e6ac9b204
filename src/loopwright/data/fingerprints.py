"""Row hashes that stay the same on every machine and library version: content digests, exact repeats, distinct counts.

A value becomes 64 bits (numbers by their bits, texts by BLAKE2b), mixed with SplitMix64's finaliser (Steele, Lea,
Flood 2014). A row's hash is the mix of the sum of its values' hashes, each seeded by its column's name; a frame's is
the sum of its rows' hashes in two lanes, so it depends neither on the order of rows nor on that of columns, and the
sums of parts add up.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
"""2^64 over the golden ratio, SplitMix64's step from one state to the next."""
_MULTIPLIERS = np.uint64(0xBF58_476D_1CE4_E5B9), np.uint64(0x94D0_49BB_1331_11EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_NULL = np.uint64(0x6E75_6C6C_9E37_79B9)
_NAN_BITS = np.float64("nan").view(np.uint64)
_SECOND_LANE = np.uint64(0xD1B5_4A32_D192_ED03)


def mix(values: Hashes) -> Hashes:
    """Return each 64-bit value with all its bits spread over all others, 0 among them."""
    return finalise(values + GOLDEN)


def finalise(values: Hashes) -> Hashes:
    """Return each 64-bit value with all its bits spread over all others, one to one; 0 stays 0.

    Both this room's digests and the row identities of the online store rest on it: it may never change.
    """
    values = (values ^ (values >> _SHIFTS[0])) * _MULTIPLIERS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return values ^ (values >> _SHIFTS[2])


def find_present(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return where values are, Boolean (rows,), of the columns that lack some: one question, not one a column."""
    columns = [column for column in frame.get_columns() if column.null_count()]
    return pl.DataFrame(columns).select(pl.all().is_not_null()).to_dict() if columns else {}


def hash_columns(frame: pl.DataFrame) -> dict[str, Hashes]:
    """Return one hash a value of every column, nulls included: uint64 of shape (rows,).

    Equal values of any numeric width are equal.
    """
    present = find_present(frame)
    return {column.name: _value_hashes(column, present.get(column.name)) for column in frame.get_columns()}


def _value_hashes(column: pl.Series, is_present: pl.Series | None) -> Hashes:
    if is_present is None:
        return mix(_bits(column))
    hashes = np.full(len(column), _NULL, dtype=np.uint64)
    hashes[is_present.to_numpy()] = mix(_bits(column.filter(is_present)))
    return hashes


def row_hashes(frame: pl.DataFrame, hashed: Mapping[str, Hashes] | None = None) -> Hashes:
    """Return one hash a row over all columns: uint64 of shape (rows,). ``hashed`` are the frame's, if known already."""
    hashed = hashed if hashed is not None else hash_columns(frame)
    total = np.zeros(frame.height, dtype=np.uint64)
    present = find_present(frame)
    for name in frame.columns:
        hashes = mix(hashed[name] ^ _text_hashes([name]))
        if name in present:
            # A missing value leaves no trace: a column may be added to a dataset without changing its older rows.
            hashes[~present[name].to_numpy()] = 0
        total += hashes
    return mix(total)


def sum_rows(hashes: Hashes) -> str:
    """Return the sum of row hashes in two lanes, as 32 hexadecimal letters."""
    first = int(hashes.sum(dtype=np.uint64)) if len(hashes) else 0
    second = int(mix(hashes ^ _SECOND_LANE).sum(dtype=np.uint64)) if len(hashes) else 0
    return f"{first:016x}{second:016x}"


def _bits(column: pl.Series) -> Hashes:
    """Return 64 bits a value of a column without nulls."""
    dtype = column.dtype
    if dtype.is_float():
        numbers = column.cast(pl.Float64).to_numpy() + 0.0
        bits = numbers.view(np.uint64)
        return np.where(np.isnan(numbers), _NAN_BITS, bits)
    if dtype == pl.UInt64:
        return column.to_numpy()
    if dtype.is_integer() or dtype.is_temporal() or dtype == pl.Boolean:
        return column.cast(pl.Int64).to_numpy().view(np.uint64)
    return _text_bits(column)


def _text_bits(column: pl.Series) -> Hashes:
    if column.dtype.is_nested():
        texts = [repr(value) for value in column.to_list()]
    else:
        texts = column.to_list() if column.dtype == pl.Binary else column.cast(pl.String).to_list()
    places = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    return _text_hashes(places)[np.fromiter(map(places.__getitem__, texts), np.int64, len(texts))]


def _text_hashes(texts: Iterable[Any]) -> Hashes:
    bodies = (text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts)
    digests = b"".join([hashlib.blake2b(body, digest_size=8).digest() for body in bodies])
    return np.frombuffer(digests, "<u8").astype(np.uint64, copy=False)
