"""Simulated requests of many rows, split between champion and candidate, and how their rows fail."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Fails = Callable[[np.random.Generator, Whole, Whole], Whole]
"""Draws how many rows are harmed, (2, n), from the rows of requests and how many lie at champion and candidate."""
MIXED = [1, 1, 1, 2, 5, 20, 100, 500]


class Requests(NamedTuple):
    """Requests of so many ``rows`` at champion and candidate, ``harmed`` of these harmed, (2, n).

    ``draws`` is in how many draws each was split, (n,): one where the caller is what is drawn.
    """

    draws: Whole
    rows: Whole
    harmed: Whole


def split(rng: np.random.Generator, sizes: Whole, weight: float, fails: Fails, *, sticky: bool = False) -> Requests:
    """Split requests between the variants, row by row, or whole where the caller is what is drawn."""
    candidate = sizes * (rng.random(len(sizes)) < weight) if sticky else rng.binomial(sizes, weight)
    rows = np.stack([sizes - candidate, candidate])
    return Requests(np.ones_like(sizes) if sticky else sizes, rows, fails(rng, sizes, rows))


def rows_fail(champion: float, candidate: float) -> Fails:
    """Each row fails by itself."""
    return lambda rng, sizes, rows: rng.binomial(rows, [[champion], [candidate]])


def parts_fail(champion: float, candidate: float) -> Fails:
    """All rows that a variant has of a request fail together."""
    return lambda rng, sizes, rows: rows * (rng.random(rows.shape) < [[champion], [candidate]])


def one_spoils_a_part(champion: float, candidate: float) -> Fails:
    """Each row is bad by itself, and all rows that a variant has of a request fail where one of them is."""
    return lambda rng, sizes, rows: rows * (rng.binomial(rows, [[champion], [candidate]]) > 0)


def requests_fail(share: float) -> Fails:
    """All rows of a request fail together, whoever answers them."""
    return lambda rng, sizes, rows: rows * (rng.random(len(sizes)) < share)


def large_ones_fail(rng: np.random.Generator, sizes: Whole, rows: Whole) -> Whole:
    """Rows of large requests alone fail, few of most and most of few, whoever answers them."""
    return rng.binomial(rows, np.where(sizes > 10, rng.beta(0.2, 0.8, len(sizes)), 0.0))
