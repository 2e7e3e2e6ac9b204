"""Events of the store: what became of jobs."""

from typing import Any

from loopwright.kernel.events import Facts, event


class _JobFacts(Facts, frozen=True):
    job_id: str
    kind: str


@event("chunks.merged")
class ChunksMerged(Facts, frozen=True):
    """Small chunks of a project's streams became large ones that hold the same ``rows``."""

    before: int
    after: int
    rows: int


@event("jobs.retried")
class JobRetried(_JobFacts, frozen=True):
    """A job that had failed, or was cancelled, was queued again."""


@event("jobs.done")
class JobDone(_JobFacts, frozen=True):
    """A job ended well, with what it answered."""

    result: dict[str, Any] | None


@event("jobs.failed")
class JobFailed(_JobFacts, frozen=True):
    """A job ended badly for good, with the error a person reads."""

    error: dict[str, Any]


@event("jobs.dismissed")
class JobDismissed(_JobFacts, frozen=True):
    """A person said that a failed job needs nothing more."""


@event("jobs.cancel_asked")
class JobCancelAsked(_JobFacts, frozen=True):
    """Somebody asked for the end of a job that is under way; its worker ends it."""


@event("jobs.cancelled")
class JobCancelled(_JobFacts, frozen=True):
    """A job ended because somebody asked for it."""
