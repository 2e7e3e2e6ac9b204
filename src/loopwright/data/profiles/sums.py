"""Exact sums of floats, so that the sum of parts is that of the whole whatever the order and the grouping.

A float is split at a power of two that is so large that all summands' upper parts are multiples of one unit and their
sum has room in a float: adding them loses nothing. What was cut off is split again, until nothing is left. The sum of
a group is then that of a few floats, and is stored as floats, each the nearest of what those before it leave.
Source: the error-free vector transformation of Rump, Ogita and Oishi 2008, Accurate Floating-Point Summation.
"""

import math
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
    if not len(full):
        return [[0.0] * len(ends)]
    odd: dict[int, Floats] = {}
    if not np.abs(values).max() < 2.0**_LARGEST_EXPONENT:
        is_odd = ~(np.abs(values) < 2.0**_LARGEST_EXPONENT)
        for group in full[np.add.reduceat(is_odd, starts[full]) > 0].tolist():
            odd[group] = values[starts[group] : ends[group]]
        values = np.where(is_odd, 0.0, values)
    parts: list[list[float]] = [[] for _ in stops]
    for sums in _split_sums(values, starts[full], int((ends - starts).max())):
        for group, total in zip(full.tolist(), sums.tolist(), strict=True):
            parts[group].append(total)
    layers = _to_layers(parts)
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


def _to_layers(parts: list[list[float]]) -> Layers:
    """Return the sums of the parts of each group, which are used up."""
    layers: Layers = []
    while not layers or any(layers[-1]):
        layers.append([math.fsum(own) for own in parts])
        for own, near in zip(parts, layers[-1], strict=True):
            own.append(-near)
    return layers[:-1] or layers


def _set_odd(layers: Layers, group: int, values: Floats) -> None:
    """Sum a group with values too large for splitting one by one, as whole numbers of the smallest float there is."""
    with np.errstate(invalid="ignore", over="ignore"):
        own = [float(values.sum())] if not np.isfinite(values).all() else _sum_units(values.tolist())
    width = len(layers[0])
    layers.extend([0.0] * width for _ in range(len(own) - len(layers)))
    for index, layer in enumerate(layers):
        layer[group] = own[index] if index < len(own) else 0.0


def _sum_units(values: list[float]) -> list[float]:
    left = sum(_to_units(value) for value in values)
    layers: list[float] = []
    while not layers or left:
        try:
            layers.append(left / (1 << _UNIT_BITS))
        except OverflowError:  # beyond the largest float a sum is infinite and leaves nothing
            return [*layers, math.inf if left > 0 else -math.inf]
        left -= _to_units(layers[-1])
    return layers


def _to_units(number: float) -> int:
    numerator, denominator = number.as_integer_ratio()
    return numerator << (_UNIT_BITS + 1 - denominator.bit_length())
