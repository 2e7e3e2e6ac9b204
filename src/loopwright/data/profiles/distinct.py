"""Different values: exact up to 1,000, then HyperLogLog with 4,096 registers (Flajolet et al. 2007)."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.data.fingerprints import Hashes

EXACT_DISTINCT = 1000
_PRECISION = 12
_REGISTERS = 1 << _PRECISION
_RANK_BITS = 64 - _PRECISION


class Distinct(msgspec.Struct, frozen=True):
    """Different values: their sorted 64-bit hashes while there are few, then registers (uint8 of length 4,096)."""

    hashes: bytes = b""
    registers: bytes = b""


def count_distinct(hashes: Hashes) -> Distinct:
    """Return what is known of the different values behind hashes, one a row, in any order."""
    # Sorted, not by `np.unique`, which since NumPy 2.3 builds a hash table: a hundred times slower.
    ordered = np.sort(hashes)
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(starts) >= EXACT_DISTINCT:
        return Distinct(registers=_registers(ordered).tobytes())
    return Distinct(hashes=ordered[np.concatenate([[0], starts])].astype("<u8").tobytes() if len(ordered) else b"")


def merge_distinct(parts: Sequence[Distinct]) -> Distinct:
    """Return what is known of the different values of all parts."""
    few = [np.frombuffer(part.hashes, dtype="<u8") for part in parts if not part.registers]
    hashes = np.concatenate(few) if few else np.zeros(0, dtype=np.uint64)
    together = count_distinct(hashes)
    full = [np.frombuffer(part.registers, dtype=np.uint8) for part in [*parts, together] if part.registers]
    if not full:
        return together
    return Distinct(registers=np.maximum.reduce([*full, _registers(hashes)]).tobytes())


def estimate_distinct(distinct: Distinct) -> int:
    """Return how many different values there were."""
    if not distinct.registers:
        return len(distinct.hashes) // 8
    registers = np.frombuffer(distinct.registers, dtype=np.uint8)
    estimate = 0.7213 / (1 + 1.079 / _REGISTERS) * _REGISTERS**2 / float(np.exp2(-registers.astype(np.float64)).sum())
    empty = int((registers == 0).sum())
    if estimate <= 2.5 * _REGISTERS and empty:
        estimate = _REGISTERS * math.log(_REGISTERS / empty)
    return round(estimate)


def _registers(hashes: Hashes) -> npt.NDArray[np.uint8]:
    """Return, for each value of the first 12 bits, the longest run of zeros (plus one) that the other 52 begin with."""
    places = (hashes >> np.uint64(_RANK_BITS)).astype(np.int64)
    rest = (hashes & np.uint64((1 << _RANK_BITS) - 1)).astype(np.float64)
    ranks = (_RANK_BITS + 1 - np.frexp(rest)[1]).astype(np.uint8)
    registers = np.zeros(_REGISTERS, dtype=np.uint8)
    np.maximum.at(registers, places, ranks)
    return registers
