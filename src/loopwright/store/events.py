"""Events of the store: what became of jobs, chunks that were merged, how long rows are kept and which are gone."""

from typing import Any

from loopwright.kernel.events import Facts, event


class JobFacts(Facts, frozen=True):
    """What every event of a job tells."""

    job_id: str
    kind: str


@event("chunks.merged")
class ChunksMerged(Facts, frozen=True):
    """Small chunks of a project's streams became large ones that hold the same ``rows``."""

    before: int
    after: int
    rows: int


@event("chunks.labelled_by_key")
class LabelledByKey(Facts, frozen=True):
    """The first labels of a deployment came that name rows by key; from now on they are matched with predictions."""

    deployment: str


@event("retention.set")
class RetentionSet(Facts, frozen=True):
    """Somebody declared how long rows of a stream, or of every stream of a kind, are kept; None for ever."""

    kind: str
    stream: str
    keep_us: int | None


@event("retention.removed")
class RowsRemoved(Facts, frozen=True):
    """Rows of a stream that were older than declared are gone; they had event times in ``[start_at, end_at)``."""

    kind: str
    stream: str
    chunks: int
    rows: int
    size_bytes: int
    start_at: int
    end_at: int


@event("jobs.retried")
class JobRetried(JobFacts, frozen=True):
    """A job that had failed, or was cancelled, was queued again."""


@event("jobs.done")
class JobDone(JobFacts, frozen=True):
    """A job ended well, with what it answered."""

    result: dict[str, Any] | None


@event("jobs.failed")
class JobFailed(JobFacts, frozen=True):
    """A job ended badly for good, with the error a person reads."""

    error: dict[str, Any]


@event("jobs.dismissed")
class JobDismissed(JobFacts, frozen=True):
    """A person said that a failed job needs nothing more."""


@event("jobs.cancel_asked")
class JobCancelAsked(JobFacts, frozen=True):
    """Somebody asked for the end of a job that is under way; its worker ends it."""


@event("jobs.cancelled")
class JobCancelled(JobFacts, frozen=True):
    """A job ended because somebody asked for it."""
