"""Structs of tracking: experiments, runs, metrics, artifacts."""

from typing import Any

import msgspec


class Environment(msgspec.Struct, frozen=True):
    """What a run ran on: interpreter, platform and package versions, and the digest of their list."""

    python: str
    platform: str
    packages: dict[str, str]
    digest: str


class SourceState(msgspec.Struct, frozen=True):
    """Git commit of the project; ``is_dirty`` with the digest of the uncommitted patch. Empty commit outside git."""

    commit: str = ""
    is_dirty: bool = False
    patch_digest: str = ""
    code_digest: str = ""


class Artifact(msgspec.Struct, frozen=True):
    """One file of a run by its relative path."""

    path: str
    digest: str
    size_bytes: int


RUN_STATES = {
    "running": frozenset({"finished", "failed", "killed"}),
    "finished": frozenset[str](),
    "failed": frozenset[str](),
    "killed": frozenset[str](),
}


class Run(msgspec.Struct, frozen=True):
    """One execution of training or evaluation. ``metrics`` holds the last value of each; ``inputs`` are refs it read."""

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


class MetricPoint(msgspec.Struct, frozen=True):
    """One value of a metric at a step; ``at_us`` is wall time."""

    step: int
    at_us: int
    value: float
