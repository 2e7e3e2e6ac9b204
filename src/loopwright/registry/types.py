"""Structs of the registry: models, versions, signatures, aliases, gates and their evidence."""

from typing import Any, Literal

import msgspec

from loopwright.kernel.digests import Digest, MaybeDigest
from loopwright.kernel.tasks import Task as Task

MEASURES = {
    "binary": ("accuracy", "brier", "log_loss", "precision", "recall", "roc_auc"),
    "multiclass": ("accuracy", "log_loss", "macro_f1"),
    "regression": ("mae", "r2", "rmse"),
}
"""What ``metrics.evaluate`` measures of each task that it knows."""
ColumnKind = Literal["number", "category", "boolean", "text"]
Verdict = Literal["passed", "failed", "invalid", "undecided"]


LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})
"""Measures of error; of every other one more is better."""


def gain(metric: str, champion: float, candidate: float) -> float:
    """Return by how much the candidate is better; negative where it is worse.

    >>> gain("log_loss", champion=0.5, candidate=0.25)
    0.25
    """
    return champion - candidate if metric in LOWER_IS_BETTER else candidate - champion


class InputColumn(msgspec.Struct, frozen=True):
    """One input of a model. ``categories`` lists a category column's known levels in code order."""

    name: str
    kind: ColumnKind
    categories: list[str] = []


class Signature(msgspec.Struct, frozen=True):
    """Inputs in the model's order, the task, and for classification the class labels in output order."""

    inputs: list[InputColumn]
    task: Task
    classes: list[str] = []


class ModelFile(msgspec.Struct, frozen=True):
    """One file of a model artifact by its relative path."""

    path: str
    digest: Digest
    size_bytes: int


class ModelVersion(msgspec.Struct, frozen=True):
    """Immutable artifact with signature and lineage.

    ``service`` names the feature service it reads (empty if none). ``metrics`` are those of the held-out rows.
    ``refit_of`` is the version whose recipe was fitted again on all rows. ``training_set`` is a ref; so is ``run``.
    """

    model: str
    version: int
    flavour: str
    files: list[ModelFile]
    digest: Digest
    signature: Signature
    metrics: dict[str, float]
    service: str = ""
    plan_digest: MaybeDigest = ""
    run: str = ""
    training_set: str = ""
    code_digest: MaybeDigest = ""
    refit_of: int | None = None
    source: str = "trained"
    created_by: str = ""
    event_at: int = 0
    recorded_at: int = 0
    monitoring_profile: MaybeDigest = ""


class Model(msgspec.Struct, frozen=True):
    """A named line of versions: how many, which ones its aliases name, and when the newest was registered."""

    model: str
    versions: int
    aliases: dict[str, int]
    last_recorded_at: int
    last_event_at: int


class Alias(msgspec.Struct, frozen=True):
    """Movable name of a version, such as champion, challenger, frozen."""

    model: str
    alias: str
    version: int


class GateSpec(msgspec.Struct, frozen=True):
    """One gate: a plugin of kind ``gates`` and its arguments."""

    kind: str
    args: dict[str, Any] = {}


class Evidence(msgspec.Struct, frozen=True):
    """Everything gates may look at. Built by ``loop/training/evidence.py``; gates are pure functions of it.

    ``metrics`` and ``champion_metrics`` are measured on the same held-out rows; None where there is no champion.
    ``overlap_rows`` counts evaluation rows that the version was trained on, ``champion_overlap_rows`` the champion's;
    None is not known, as of a model trained elsewhere, whose data is not known either (``is_data_known``).
    ``quarantined`` are newest versions of datasets, in whose place older ones were read; ``released`` are versions with
    rows in what was read that a person let pass although checks failed. ``skews`` are what the newest audits of the
    model's deployments found, ``is_audited`` says that there was one; ``unaudited`` are deployments of which the last
    that was due did not happen. ``is_stretch_chosen``: who started the measuring said which rows, and was no approver.
    """

    model: str
    version: int
    rows: int
    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    champion: int | None
    champion_metrics: dict[str, float] | None
    overlap_rows: int | None
    champion_overlap_rows: int | None
    latency_p99_ms: float | None
    quarantined: list[str]
    evaluation: str = ""
    released: list[str] = []
    is_data_known: bool = True
    skews: list[str] = []
    is_audited: bool = False
    unaudited: list[str] = []
    is_stretch_chosen: bool = False


class GateResult(msgspec.Struct, frozen=True):
    """Verdict of one gate with the sentence a person reads. ``invalid`` and ``undecided`` never count as passed."""

    gate: GateSpec
    verdict: Verdict
    message: str


class GateReport(msgspec.Struct, frozen=True):
    """All gates of one version, with their evidence, as stored."""

    report_id: str
    model: str
    version: int
    passed: bool
    results: list[GateResult]
    evidence: Evidence
    event_at: int
    recorded_at: int
    forced_by: str = ""
    forced_reason: str = ""
