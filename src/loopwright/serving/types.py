"""Structs of serving: deployments, releases, variants, rollouts, predictions."""

from typing import Literal

import msgspec

from loopwright.features import FeaturePlan
from loopwright.kernel.digests import MaybeDigest
from loopwright.kernel.refs import MaybeName
from loopwright.registry import GateSpec, ModelFile, Signature
from loopwright.store.types import BlobRef
from loopwright.store.work import Work, job_kind

RELEASE_SCHEMA = 1
"""Form of the release document; gateways read this one and the one before."""

CHAMPION = "champion"
"""Name of the variant that answers when nothing else is asked for."""
CANDIDATE = "candidate"
"""Name of the variant that a rollout tries."""


class ShadowStep(msgspec.Struct, frozen=True, tag="shadow"):
    """All traffic is answered twice, the candidate unseen, for ``hold_us``; then paired quality decides."""

    hold_us: int
    no_worse: str
    margin: float
    least_labels: int = 200
    most_us: int | None = None


class CanaryStep(msgspec.Struct, frozen=True, tag="canary"):
    """The candidate answers a share of traffic (0..1) for ``hold_us``; ``guard`` metrics abort on evidence of harm.

    ``least_rows`` is what it must have answered at least, counted as the guards count: rows that were answered together
    are one.
    """

    weight: float
    hold_us: int
    guard: list[str]
    least_rows: int = 100
    most_us: int | None = None


RolloutStep = ShadowStep | CanaryStep


class ApproveSpec(msgspec.Struct, frozen=True):
    """Who approves: ``person`` (waits for one) or ``policy`` (gates suffice), for the first version and retrains.

    ``allows_own``, for teams of one, lets those approve who trained, registered or started what waits; each approval
    says so.
    """

    first: Literal["person", "policy"] = "person"
    retrain: Literal["person", "policy"] = "person"
    allows_own: bool = False


class DeploymentSpec(msgspec.Struct, frozen=True):
    """Declaration of an addressable endpoint.

    ``follow`` are aliases that always run as unseen shadow variants beside the champion (``frozen``, ``calendar``).
    ``sticky`` is the request field that keeps a caller on one variant; the row's own id where empty.
    ``is_external`` marks a model served elsewhere: it has no releases, only predictions, labels and windows.
    ``timeout_us`` is how long one request may take until gateways give it up; None for their default of 10 seconds.
    """

    name: str
    model: str
    task: str
    gates: list[GateSpec] = []
    rollout: list[RolloutStep] = []
    approve: ApproveSpec = ApproveSpec()
    follow: list[str] = []
    sticky: str = ""
    personal: list[str] = []
    is_external: bool = False
    timeout_us: int | None = None


class Variant(msgspec.Struct, frozen=True):
    """A model version in a release, with a weight (0..1), or as an unseen shadow with weight 0.

    ``name`` is stable within the deployment: ``champion``, ``candidate``, or the followed alias. ``plan`` is the
    digest of the feature plan it reads, empty if requests carry the model's columns themselves.
    """

    name: str
    model: str
    version: int
    flavour: str
    files: list[ModelFile]
    signature: Signature
    weight: float
    is_shadow: bool = False
    digest: MaybeDigest = ""
    plan: str = ""


class Release(msgspec.Struct, frozen=True):
    """The immutable document a gateway needs to serve a deployment; ``number`` grows by one per deployment.

    ``position`` orders releases of the whole server, so gateways can ask for those after N. ``is_retired`` marks the
    one that ends an endpoint; it still names who answered last.
    """

    schema: int
    project: str
    deployment: str
    number: int
    position: int
    task: str
    variants: list[Variant]
    plans: dict[str, FeaturePlan]
    sticky: str
    personal: list[str]
    reason: str
    event_at: int
    recorded_at: int
    clock: str = "wall"
    rollout_id: str = ""
    limits: dict[str, int] = {}
    is_retired: bool = False


ROLLOUT_STATES = {
    "waiting_approval": frozenset({"running", "aborted", "done"}),
    "running": frozenset({"done", "aborted", "paused"}),
    "paused": frozenset({"running", "aborted"}),
    "done": frozenset({"aborted"}),  # where it turns out that no gateway can load its last release
    "aborted": frozenset[str](),
}


LIVE_STATES = ("waiting_approval", "running", "paused")
"""States of a rollout that is not over; a deployment has at most one such."""


class StepVerdict(msgspec.Struct, frozen=True):
    """What one look at a rollout step found: metric, both values, interval of the difference, verdict and a sentence.

    ``difference`` is candidate against champion, turned so that positive is better whatever the metric. ``at_us`` is
    the moment the look took, on the project's clock.
    """

    step: int
    metric: str
    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    verdict: Literal["go", "abort", "undecided"]
    message: str
    rows: int = 0
    at_us: int = 0


def verdict_alone(
    metric: str, verdict: Literal["go", "abort", "undecided"], message: str, rows: int = 0
) -> StepVerdict:
    """Return a verdict that compares no values."""
    return StepVerdict(0, metric, None, None, None, None, None, verdict, message, rows)


class Rollout(msgspec.Struct, frozen=True):
    """A planned sequence of releases that brings a version into traffic. ``step`` -1 is before the first.

    ``release`` is the number of the present step's first release, ``looks`` how often that step has been judged.
    ``paused_at`` is set while paused; ``paused_us`` sums the present step's earlier pauses, by which its hold grows.
    """

    rollout_id: str
    deployment: str
    model: str
    version: int
    champion: int | None
    steps: list[RolloutStep]
    step: int
    state: str
    started_by: str
    reason: str
    step_started_at: int
    event_at: int
    recorded_at: int
    finished_at: int | None = None
    verdicts: list[StepVerdict] = []
    forced_reason: str = ""
    release: int = 0
    looks: int = 0
    paused_at: int | None = None
    paused_us: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it is not over."""
        return self.state in LIVE_STATES


class Look(msgspec.Struct, frozen=True):
    """One judging of a rollout step, as stored; ``look`` counts from 1 within the step."""

    rollout_id: str
    step: int
    look: int
    verdicts: list[StepVerdict]
    event_at: int


@job_kind("serving.judge_step", lane="looks", is_duty=True)
class JudgeLook(Work, frozen=True):
    """What the job that judges a step is told: releases from ``release`` on, event times in ``[start_at, end_at]``."""

    rollout_id: str
    deployment: str
    version: int
    task: str
    step: RolloutStep
    index: int
    look: int
    release: int
    start_at: int
    end_at: int


@job_kind("serving.score", keep_days=None)  # why names the batch that scored a row
class ScoreSpec(Work, frozen=True):
    """A batch to score: a Parquet blob with the model's columns, perhaps with a caller's id and an event time.

    ``release`` is the deployment's newest at the start, 0 before the first. ``personal`` columns are not logged.
    """

    deployment: str
    model: str
    version: int
    release: int
    input: BlobRef
    id_column: str = ""
    time_column: str = ""
    personal: list[str] = msgspec.field(default_factory=list)


class Deployment(msgspec.Struct, frozen=True):
    """A declared deployment."""

    project: str
    name: str
    spec: DeploymentSpec
    event_at: int
    recorded_at: int


class ReleaseFailure(msgspec.Struct, frozen=True):
    """A release that a gateway could not load, again and again; it goes on serving the one before, if it has one.

    ``serves`` is the number of the release that this gateway serves instead, None where it serves none. ``next_step``
    is what the error says to do. Where ``is_of_store``, the online store is to blame: no other release fares better.
    """

    gateway: str
    project: str
    deployment: str
    number: int
    why: str
    serves: int | None = None
    next_step: str = ""
    is_of_store: bool = False


class DeploymentStatus(msgspec.Struct, frozen=True):
    """A deployment as it stands: the release that serves and the rollout that is live, or the last one.

    ``failures`` are of live gateways that could not load the newest release and serve an older one, or none.
    ``retired`` is the release that ended the endpoint; nothing serves then until a version is deployed again.
    """

    deployment: Deployment
    release: Release | None
    rollout: Rollout | None
    failures: list[ReleaseFailure] = []
    retired: Release | None = None

    @property
    def champion(self) -> int | None:
        """The version that answers, None before the first release."""
        return None if self.release is None else champion_of(self.release).version


def champion_of(release: Release) -> Variant:
    """Return the champion of a release; every release has one."""
    return next(variant for variant in release.variants if variant.name == CHAMPION)


def candidate_of(release: Release) -> Variant | None:
    """Return the variant that a rollout is trying, if any."""
    return next((variant for variant in release.variants if variant.name == CANDIDATE), None)


class Trouble(msgspec.Struct, frozen=True):
    """What a gateway cannot mend by itself: it goes on, and a person should look.

    ``kind`` is ``disk`` (it takes no rows, or hardly any room is left), ``sealing`` (rows wait for a blob store or a
    server), ``spool`` (rows that could not be sealed are kept aside), ``stranger`` (a file in the spool is none of its
    own), ``store`` (an online store lost its rows, was never filled, or takes none), ``topic`` (a topic cannot be read,
    or holds what are no rows) or ``child`` (the process of a model ends again and again). ``project`` is empty where it
    concerns every project; ``since`` is wall time, microseconds UTC. ``next_step`` is empty where what is done about
    every trouble of its kind is all there is to say.
    ``view`` and ``plan_digest`` name what is to be filled, where that is what helps.
    """

    kind: Literal["child", "disk", "sealing", "spool", "store", "stranger", "topic"]
    message: str
    since: int
    project: str = ""
    next_step: str = ""
    view: MaybeName = ""
    plan_digest: MaybeDigest = ""


class GatewayLease(msgspec.Struct, frozen=True):
    """A live gateway: its address, and until when its lease holds (wall).

    It serves every release up to the position ``acknowledged``, but for those of ``failures``.
    """

    gateway: str
    address: str
    acknowledged: int
    lease_until: int
    failures: list[ReleaseFailure] = []
    troubles: list[Trouble] = []
