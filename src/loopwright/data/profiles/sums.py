"""Exact sums of floats, so that the sum of parts is that of the whole whatever the order and the grouping.

A float is split at a power of two that is so large that all summands' upper parts are multiples of one unit and their
sum has room in a float: adding them loses nothing. What was cut off is split again, until nothing is left. The sum of
a group is then a whole number of the smallest float there is; it is stored as floats, each the nearest of what is left.
Source: the error-free vector transformation of Rump, Ogita and Oishi 2008, Accurate Floating-Point Summation.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_UNIT_BITS = 1074
"""The smallest float is two to the minus this."""
_LARGEST_EXPONENT = 960
"""Beyond it the power at which is split could overflow."""
Layers = list[list[float]]
"""Sums of groups in layers: the first is the sum correctly rounded, each further one what those before it leave."""


def exact_sums(values: Floats, stops: Sequence[int]) -> Layers:
    """Return the exact sums of consecutive groups of values.

    Args:
        values: float64 of shape (n,). A group with infinities sums up as floats do.
        stops: Where each group ends, ascending, the last at n; a group may be empty.

    Returns:
        Layers of one float a group, at least one layer.
    """
    ends = np.asarray(stops, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    full = np.flatnonzero(ends > starts)
    totals = [0] * len(ends)
    if not len(full):
        return [[0.0] * len(ends)]
    odd: dict[int, Floats] = {}
    if not np.abs(values).max() < 2.0**_LARGEST_EXPONENT:
        is_odd = ~(np.abs(values) < 2.0**_LARGEST_EXPONENT)
        for group in full[np.add.reduceat(is_odd, starts[full]) > 0].tolist():
            odd[group] = values[starts[group] : ends[group]]
        values = np.where(is_odd, 0.0, values)
    for part in _split_sums(values, starts[full], int((ends - starts).max())):
        for group, total in zip(full.tolist(), part.tolist(), strict=True):
            totals[group] += _to_units(total)
    layers = _to_layers(totals)
    for group, own in odd.items():
        _set_odd(layers, group, own)
    return layers


def _split_sums(values: Floats, starts: npt.NDArray[np.int64], longest: int) -> list[Floats]:
    """Return sums of groups that add up to the exact ones; ``longest`` is the size of the largest group."""
    parts, rest = [], values
    room = longest.bit_length() + 1
    while largest := float(np.abs(rest).max()):
        split = 2.0 ** (np.frexp(largest)[1] + room)
        upper = (rest + split) - split
        parts.append(np.add.reduceat(upper, starts))
        rest = rest - upper
    return parts


def _to_units(number: float) -> int:
    numerator, denominator = number.as_integer_ratio()
    return numerator << (_UNIT_BITS + 1 - denominator.bit_length())


def _nearest(units: int) -> float:
    try:
        return units / (1 << _UNIT_BITS)
    except OverflowError:
        return float("inf") if units > 0 else float("-inf")


def _to_layers(totals: list[int]) -> Layers:
    layers: Layers = []
    left = totals
    while not layers or any(left):
        layers.append([_nearest(units) for units in left])
        # A sum beyond the largest float is infinite and leaves nothing.
        left = [
            0 if abs(near) == float("inf") else units - _to_units(near)
            for units, near in zip(left, layers[-1], strict=True)
        ]
    return layers


def _set_odd(layers: Layers, group: int, values: Floats) -> None:
    """Sum a group with values too large for splitting one by one."""
    if np.isfinite(values).all():
        own = _to_layers([sum(_to_units(value) for value in values.tolist())])
    else:
        with np.errstate(invalid="ignore"):
            own = [[float(values.sum())]]
    width = len(layers[0])
    layers.extend([0.0] * width for _ in range(len(own) - len(layers)))
    for place, layer in enumerate(layers):
        layer[group] = own[place][0] if place < len(own) else 0.0
