"""What the events of the loop tell: applied projects, trainings, retrains, backtests, what failed behind the scenes."""

from typing import Any

from loopwright.kernel.events import Facts, event


@event("loop.applied")
class ProjectApplied(Facts, frozen=True):
    """A project file was applied; ``new`` and ``changed`` count declarations.

    ``spec_digest`` is that of what is kept of it (missing in older events).
    """

    code_digest: str
    new: int
    changed: int
    spec_digest: str = ""


@event("loop.export_started")
class ExportStarted(Facts, frozen=True):
    """Somebody has predictions with their labels written out, of event times in ``[start_at, end_at)``."""

    job_id: str
    start_at: int
    end_at: int
    features: bool


@event("loop.skew_audited")
class SkewAudited(Facts, frozen=True):
    """Of rows served in ``[start_at, until)`` some were computed again from the datasets.

    ``features`` say of each that is not equal how many rows, and the suspected cause.
    """

    deployment: str
    start_at: int
    until: int
    rows: int
    unequal_rows: int
    features: list[dict[str, Any]]


@event("loop.restored")
class Restored(Facts, frozen=True):
    """The platform was set up again from a backup; what came after ``backup_at`` (microseconds UTC) is not here."""

    backup_id: str
    backup_at: int


@event("deletion.deleted")
class Deleted(Facts, frozen=True):
    """A thing is gone with its parts: how many of each kind, and how many rows belonged to them, where few enough."""

    parts: dict[str, int]
    rows: dict[str, int]


@event("features.online_tidied")
class OnlineTidied(Facts, frozen=True):
    """The online store of a state folder was tidied: views nobody reads, and entities, with the bytes of the latter."""

    views: list[str]
    entities: int
    size_bytes: int


@event("storage.garbage_freed")
class GarbageFreed(Facts, frozen=True):
    """What no row named for a grace period is gone: how many blobs, all bytes, and the bytes by what they were of."""

    blobs: int
    size_bytes: int
    freed: dict[str, int]


@event("loop.evaluation_started")
class EvaluationStarted(Facts, frozen=True):
    """A version is measured on held-out rows, and its gates are run."""

    job_id: str
    model: str
    version: int


@event("loop.trained")
class Trained(Facts, frozen=True):
    """A training made a version; ``passed`` says whether its gates let it pass. ``alias`` is one to set at once."""

    execution_id: str
    model: str
    version: int
    passed: bool
    alias: str = ""


@event("loop.retrain_started")
class RetrainStarted(Facts, frozen=True):
    """A training was started for a deployment: by a trigger, or by a person (``cause``)."""

    retrain_id: str
    execution_id: str
    cause: str


@event("loop.retrain_changed")
class RetrainChanged(Facts, frozen=True):
    """A retrain goes on, or ended: training, rolling_out, promoted, refused, failed, cancelled."""

    retrain_id: str
    state: str
    cause: str


@event("loop.backtest_started")
class BacktestStarted(Facts, frozen=True):
    """A stretch of a deployment's history is played again; moments are microseconds UTC."""

    backtest_id: str
    deployment: str
    start_at: int
    end_at: int
    job_id: str


@event("loop.backtest_begun")
class BacktestBegun(Facts, frozen=True):
    """A worker plays it, in the project ``scratch``; from the second ``attempt`` on it has started over."""

    backtest_id: str
    attempt: int
    scratch: str


@event("loop.backtest_finished")
class BacktestFinished(Facts, frozen=True):
    """It has ended: done, failed or cancelled. ``scratch`` is the project that was kept, empty where none was."""

    backtest_id: str
    state: str
    scratch: str


@event("loop.reaction_failed")
class ReactionFailed(Facts, frozen=True):
    """A rule failed on an event of type ``answered``."""

    rule: str
    answered: str


@event("loop.timer_failed")
class TimerFailed(Facts, frozen=True):
    """A call that was due failed."""

    verb: str
    key: str
