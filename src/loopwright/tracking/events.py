"""Events of tracking: runs from start to end. Metric points are bulk rows and write none."""

from loopwright.kernel.events import Facts, event


@event("tracking.run_started")
class RunStarted(Facts, frozen=True):
    """A run began."""

    experiment: str
    name: str
    execution_id: str | None


@event("tracking.params_added")
class ParamsAdded(Facts, frozen=True):
    """A run that had begun took further params; what they hold is in the run."""

    names: list[str]


@event("tracking.artifact_logged")
class ArtifactLogged(Facts, frozen=True):
    """A file of a run is stored, or was replaced."""

    path: str
    digest: str
    size_bytes: int


@event("tracking.tags_set")
class TagsSet(Facts, frozen=True):
    """Tags of a run were set; those not told are as they were."""

    tags: dict[str, str]


@event("tracking.run_finished")
class RunFinished(Facts, frozen=True):
    """A run came to its end."""


@event("tracking.run_failed")
class RunFailed(Facts, frozen=True):
    """A run broke off with an error."""


@event("tracking.run_killed")
class RunKilled(Facts, frozen=True):
    """A run was stopped from outside."""
