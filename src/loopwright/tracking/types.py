"""Structs of tracking: experiments, runs, metrics, artifacts."""

import math
from typing import Any, Literal

import msgspec

from loopwright.kernel.digests import Digest, MaybeDigest

NonFinite = Literal["nan", "inf", "-inf"]
"""Values that JSON cannot carry as numbers."""

Number = float | NonFinite | None
"""A metric's value as it travels: a number, or the name of a value that is none; null is NaN."""


def read_number(value: Number) -> float:
    """Return the number a travelled value stands for.

    >>> read_number("-inf")
    -inf
    """
    return math.nan if value is None else float(value)


def name_non_finite(value: float) -> NonFinite | None:
    """Return ``nan``, ``inf`` or ``-inf``, or None for a plain number."""
    if math.isfinite(value):
        return None
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


class Environment(msgspec.Struct, frozen=True):
    """What a run ran on: interpreter, platform and package versions, and the digest of their list."""

    python: str
    platform: str
    packages: dict[str, str]
    digest: Digest


class SourceState(msgspec.Struct, frozen=True):
    """Git commit of the project; ``is_dirty`` with the digest of the uncommitted patch. Empty commit outside git."""

    commit: str = ""
    is_dirty: bool = False
    patch_digest: MaybeDigest = ""
    code_digest: MaybeDigest = ""


class Artifact(msgspec.Struct, frozen=True):
    """One file of a run by its relative path."""

    path: str
    digest: Digest
    size_bytes: int


RUN_STATES = {
    "running": frozenset({"finished", "failed", "killed"}),
    "finished": frozenset[str](),
    "failed": frozenset[str](),
    "killed": frozenset[str](),
}


class Run(msgspec.Struct, frozen=True):
    """One execution of training or evaluation. ``metrics`` holds the last value of each; ``inputs`` are refs it read.

    A metric whose last value is no plain number stands in ``non_finite`` instead. ``points_removed_at`` says since when
    retention keeps no more than these last values (wall, microseconds UTC); None while every point is there.
    """

    run_id: str
    experiment: str
    name: str
    state: str
    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    inputs: list[str]
    artifacts: list[Artifact]
    environment: Environment | None
    source: SourceState | None
    execution_id: str | None
    event_at: int
    started_at: int
    finished_at: int | None
    non_finite: dict[str, NonFinite] = {}
    points_removed_at: int | None = None


class MetricPoint(msgspec.Struct, frozen=True):
    """One value of a metric at a step; ``at_us`` is wall time. Where ``value`` is None, ``non_finite`` names it."""

    step: int
    at_us: int
    value: float | None
    non_finite: NonFinite | None = None


class LoggedMetric(msgspec.Struct, frozen=True):
    """One point to log; without ``at_us`` it is now."""

    key: str
    value: Number
    step: int = 0
    at_us: int | None = None


class Experiment(msgspec.Struct, frozen=True):
    """A question being studied: how many runs it has in each state, and when the newest one started."""

    name: str
    runs: int
    running: int
    finished: int
    failed: int
    last_started_at: int
