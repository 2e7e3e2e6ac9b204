"""What the events of serving tell: deployments, releases, rollouts, batch scores."""

import msgspec

from loopwright.kernel.events import Facts, event
from loopwright.serving.types import StepVerdict
from loopwright.store.types import BlobRef


@event("serving.declared")
class DeploymentDeclared(Facts, frozen=True):
    """A deployment was declared, or declared differently; ``spec_digest`` says how (missing in older events)."""

    deployment: str
    model: str
    is_external: bool
    spec_digest: str = ""


class ReleasedVariant(msgspec.Struct, frozen=True):
    """Who answers in a release: a version with its weight (0..1), or an unseen shadow."""

    name: str
    model: str
    version: int
    weight: float
    is_shadow: bool


@event("serving.released")
class Released(Facts, frozen=True):
    """A release was made; ``rollout_id`` is empty where no rollout asked for it.

    ``document_digest`` is that of all that gateways are told (missing in older events).
    """

    deployment: str
    number: int
    position: int
    rollout_id: str
    variants: list[ReleasedVariant]
    document_digest: str = ""


@event("serving.retired")
class Retired(Facts, frozen=True):
    """An endpoint was ended by a release of its own; ``version`` answered last, ``document_digest`` as ``Released``."""

    deployment: str
    number: int
    position: int
    version: int
    document_digest: str = ""


@event("serving.release_failed")
class ReleaseFailed(Facts, frozen=True):
    """A gateway could not load a release and serves the one before."""

    deployment: str
    number: int
    gateway: str


@event("serving.rolled_back")
class RolledBack(Facts, frozen=True):
    """Traffic went back from version ``left`` to ``version``; ``was_candidate`` where only a rollout was undone."""

    deployment: str
    model: str
    version: int
    left: int
    number: int
    rollout_id: str
    was_candidate: bool


class RolloutFacts(Facts, frozen=True):
    """What every event of a rollout tells; ``step`` is -1 before the first, ``champion`` None where nothing served."""

    deployment: str
    model: str
    version: int
    champion: int | None
    rollout_id: str
    step: int


@event("serving.rollout_started")
class RolloutStarted(RolloutFacts, frozen=True):
    """A rollout began, or waits for an approval (``state``)."""

    state: str
    forced_reason: str


@event("serving.rollout_step_started")
class RolloutStepStarted(RolloutFacts, frozen=True):
    """A step began with release ``number``."""

    number: int
    step_words: str


@event("serving.rollout_step_judged")
class RolloutStepJudged(RolloutFacts, frozen=True):
    """A look at a step was judged: wait, go or abort."""

    look: int
    decision: str
    verdicts: list[StepVerdict]


@event("serving.rollout_finished")
class RolloutFinished(RolloutFacts, frozen=True):
    """The version takes all traffic with release ``number``."""

    number: int


@event("serving.rollout_aborted")
class RolloutAborted(RolloutFacts, frozen=True):
    """The version left; ``verdicts`` are those of the step that was live."""

    verdicts: list[StepVerdict]
    is_forced: bool


@event("serving.rollout_paused")
class RolloutPaused(RolloutFacts, frozen=True):
    """A person holds a rollout at its step."""


@event("serving.rollout_resumed")
class RolloutResumed(RolloutFacts, frozen=True):
    """A rollout goes on."""


@event("serving.score_started")
class ScoreStarted(Facts, frozen=True):
    """A batch is to be scored; beside the job's id its arguments, see ``ScoreSpec``."""

    job_id: str
    deployment: str
    model: str
    version: int
    release: int
    input: BlobRef
    id_column: str
    time_column: str
    personal: list[str]


@event("serving.scored")
class Scored(Facts, frozen=True):
    """A batch was scored; ``output`` is the digest of its answers."""

    job_id: str
    model: str
    version: int
    rows: int
    output: str
