"""Evaluating a registered version: its gates on held-out rows, for one that no training here has judged."""

from loopwright import features, registry, serving
from loopwright.governance import has_role, require_role
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import parse_ref
from loopwright.kernel.verbs import Role, verb
from loopwright.loop.apply import current_spec
from loopwright.loop.events import EvaluationStarted
from loopwright.loop.types import Evaluate, TrainSpec
from loopwright.registry import ModelVersion
from loopwright.store.tx import Tx
from loopwright.store.types import Job

HOLDOUT_US = 14 * DAY_US
"""How many days of rows are measured where neither the caller nor a training of the model says."""


@verb("loop.start_evaluation", changes=Job)
def start_evaluation(
    tx: Tx,
    *,
    model: str,
    version: int | None = None,
    service: str = "",
    start_at: int | None = None,
    end_at: int | None = None,
    reason: str = "",
) -> Job:
    """Start measuring a version on held-out rows of its feature service, and running the gates declared for it.

    The report counts like that of a training: a version that was imported, or made by a command, can then be deployed.

    Args:
        model: Its name.
        version: Its number; None for the newest.
        service: The feature service whose labelled rows are measured; empty for the version's own, or its trainings'.
            Another than these is an approver's choice.
        start_at: First event time of the rows, microseconds UTC; None for the first after its training rows, or
            where those are not known, as long before the end as trainings hold out, and not after its registration.
            Where an editor begins elsewhere than there or at the registration of the version, an approver is asked
            before what passes is released.
        end_at: First event time that is out; None for now, or for when its own training found labels to be ripe.
            Another is an editor's to say as another start is.
        reason: Why, for the audit trail.

    Raises:
        NotFound: There is no such version.
        InvalidInput: No deployment of the model declares a gate, or it has no feature service.
    """
    model_version = registry.get_version(tx, model=model, version=version)
    gates = [gate for deployment in serving.list_deployments(tx, model=model) for gate in deployment.spec.gates]
    if not gates:
        raise InvalidInput(
            f"no deployment of {model} declares a gate",
            field="model",
            value=model,
            next_step="p.deployment(..., gates=[...]), then loopwright apply FILE",
        )
    trains = [train for train in current_spec(tx).trains if train.model == model]
    last = tx.now_us - _embargo(tx, model_version)
    end = last if end_at is None else end_at
    first = _first_unseen(tx, model_version, end, trains)
    start = first if start_at is None else start_at
    # Rows from after its registration are the ones that are certainly new to it: to begin there chooses none.
    is_chosen = end != last or start not in (first, model_version.event_at)
    own = [model_version.service, *(train.service for train in trains)]
    if service and service not in own:  # whoever chooses the labels chooses the verdict
        require_role(tx, Role.APPROVER, "let gates be judged on rows of another feature service")
    services = [service, *own]
    is_own = bool(model_version.plan_digest) and service in ("", model_version.service)
    plan = model_version.plan_digest if is_own else _plan(tx, model, [name for name in services if name])
    ref = tx.ref("model", model, model_version.version)
    work = Evaluate(
        model=model,
        version=model_version.version,
        gates=gates,
        plan_digest=plan,
        start_at=start,
        end_at=end,
        known_by=tx.now_us,
        reason=reason,
        is_stretch_chosen=is_chosen and not has_role(tx, Role.APPROVER),
    )
    job = tx.start_job(work, ref)
    tx.emit(EvaluationStarted(job.job_id, model, model_version.version), ref, reason=reason)
    return job


def _embargo(tx: Tx, version: ModelVersion) -> int:
    """Return how old rows are whose labels are ripe, as the version's training took it."""
    if not version.training_set:
        return 0
    ref = parse_ref(version.training_set)
    return features.training_set(tx, service=ref.name, version=ref.version).spec.embargo_us


def _first_unseen(tx: Tx, version: ModelVersion, end_at: int, trains: list[TrainSpec]) -> int:
    if version.training_set:
        ref = parse_ref(version.training_set)
        return features.training_set(tx, service=ref.name, version=ref.version).event_at_max + 1
    held_out_us = next((train.holdout_us for train in trains if train.holdout_us), HOLDOUT_US)
    return min(end_at - held_out_us, version.event_at)  # a holdout may be declared anew, once rows are known


def _plan(tx: Tx, model: str, services: list[str]) -> str:
    if not services:
        raise InvalidInput(
            f"it is not known which feature service has labelled rows for {model}",
            field="service",
            next_step=f"name it: loopwright evaluate {model} --service NAME",
        )
    return features.freeze_plan(tx, service=services[0])
