"""Structs of serving: deployments, releases, variants, rollouts, predictions."""

from typing import Literal

import msgspec

from loopwright.features import FeaturePlan
from loopwright.registry import GateSpec, ModelFile, Signature

RELEASE_SCHEMA = 1
"""Form of the release document; gateways read this one and the one before."""


class ShadowStep(msgspec.Struct, frozen=True, tag="shadow"):
    """All traffic is answered twice, the candidate unseen, for ``hold_us``; then paired quality decides."""

    hold_us: int
    no_worse: str
    margin: float
    least_labels: int = 200
    most_us: int | None = None


class CanaryStep(msgspec.Struct, frozen=True, tag="canary"):
    """A share of traffic (0..1) is answered by the candidate for ``hold_us``; ``guard`` metrics abort on evidence of harm."""

    weight: float
    hold_us: int
    guard: list[str]
    least_rows: int = 100
    most_us: int | None = None


RolloutStep = ShadowStep | CanaryStep


class ApproveSpec(msgspec.Struct, frozen=True):
    """Who approves: ``person`` (waits for one) or ``policy`` (gates suffice), for the first version and for retrains."""

    first: Literal["person", "policy"] = "person"
    retrain: Literal["person", "policy"] = "person"


class DeploymentSpec(msgspec.Struct, frozen=True):
    """Declaration of an addressable endpoint.

    ``follow`` are aliases that always run as unseen shadow variants beside the champion (``frozen``, ``calendar``).
    ``sticky`` is the request field that keeps a caller on one variant; the row's own id where empty.
    ``is_external`` marks a model served elsewhere: it has no releases, only predictions, labels and windows.
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


class Variant(msgspec.Struct, frozen=True):
    """A model version in a release, with a weight (0..1), or as an unseen shadow with weight 0.

    ``name`` is stable within the deployment: ``champion``, ``candidate``, or the followed alias. ``plan`` is the digest of the
    feature plan it reads, empty if requests carry the model's columns themselves.
    """

    name: str
    model: str
    version: int
    flavour: str
    files: list[ModelFile]
    signature: Signature
    weight: float
    is_shadow: bool = False
    digest: str = ""
    plan: str = ""


class Release(msgspec.Struct, frozen=True):
    """The immutable document a gateway needs to serve a deployment; ``number`` grows by one per deployment.

    ``position`` orders releases of the whole server, so gateways can ask for those after N.
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


ROLLOUT_STATES = {
    "waiting_approval": frozenset({"running", "aborted", "done"}),
    "running": frozenset({"done", "aborted", "paused"}),
    "paused": frozenset({"running", "aborted"}),
    "done": frozenset[str](),
    "aborted": frozenset[str](),
}


class StepVerdict(msgspec.Struct, frozen=True):
    """What a rollout step found: metric, both values, interval of the difference, verdict and a sentence."""

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


class Rollout(msgspec.Struct, frozen=True):
    """A planned sequence of releases that brings a version into traffic. ``step`` -1 is before the first."""

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


class GatewayLease(msgspec.Struct, frozen=True):
    """A live gateway: its address, the newest release position it serves, and until when its lease holds (wall)."""

    gateway: str
    address: str
    acknowledged: int
    lease_until: int
