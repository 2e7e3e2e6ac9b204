"""Verbs of monitors: what is watched of a deployment, and the reference it is compared with."""

import msgspec

from loopwright import registry, serving
from loopwright.governance import Approval, Loosening, loosening, require_role
from loopwright.kernel.bounds import MOST_COLUMNS, MOST_RULES, check_count
from loopwright.kernel.clock import HOUR_US, MINUTE_US, format_duration
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.expressions import parse_expression
from loopwright.kernel.plugins import plugin_names
from loopwright.kernel.verbs import SERVER_ALONE, Role, verb
from loopwright.monitoring import sql
from loopwright.monitoring.channels import NEED_TARGET
from loopwright.monitoring.drift import DRIFT_METRICS
from loopwright.monitoring.events import MonitorDeclared, ReferenceSet, ReferenceStarted, WindowsOpened
from loopwright.monitoring.strictness import loosened
from loopwright.monitoring.targets import keep_targets, shown_spec
from loopwright.monitoring.types import BuildReference, Monitor, MonitorSpec, PolicyAnswers
from loopwright.monitoring.watched import get
from loopwright.monitoring.windows import MOST_PARTS, plan_close
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job

METRICS = {
    "binary": ("roc_auc", "accuracy", "log_loss", "brier"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("rmse", "mae"),
}
"""Metrics a window can measure, by task; the first is the default."""
COUNTS = {"true_positive", "false_positive", "true_negative", "false_negative"}
"""Names a business value may use."""


@verb("monitoring.declare", changes=Monitor)
def declare(tx: Tx, *, deployment: str, spec: MonitorSpec, policy: PolicyAnswers | None = None) -> Monitor:
    """Declare what to watch of a deployment; declaring the same again changes nothing.

    Windows begin with ``monitoring.open_windows``, those of an external deployment at once.

    Args:
        deployment: A declared deployment.
        spec: What to watch.
        policy: What the deployment's retrain policy answers: incidents of that call for no person, and decay is
            judged by the policy's limits, so that an incident and its retrain come together.

    Raises:
        NotFound: No such deployment.
        InvalidInput: The declaration names an unknown metric, distance or channel, or a stretch of no length.
        PermissionDenied: It would loosen a rule, and the caller is no approver and has no approval of this very change.
    """
    served = serving.get(tx, deployment=deployment).spec
    spec = check_spec(spec, served.task)
    keep_targets(tx, spec.channels)
    spec = shown_spec(spec)
    monitor = sql.find_monitor(tx, deployment)
    if monitor is not None and (monitor.spec, monitor.policy, monitor.task) == (spec, policy, served.task):
        return monitor
    loosening.require_allowed(tx, _loosening(tx, monitor, deployment, spec, policy))
    if monitor is None:
        monitor = Monitor(
            deployment=deployment,
            spec=spec,
            task=served.task,
            is_external=served.is_external,
            policy=policy,
            reference="",
            reference_at=0,
            model_version=None,
            metrics={},
            next_at=None,
            event_at=tx.now_us,
            recorded_at=tx.wall_us,
        )
    changed = msgspec.structs.replace(monitor, spec=spec, policy=policy, task=served.task, recorded_at=tx.wall_us)
    if changed.next_at is not None and spec.every_us != monitor.spec.every_us:
        # The next window begins on the new grid, not before the old windows end.
        changed = msgspec.structs.replace(changed, next_at=-(-changed.next_at // spec.every_us) * spec.every_us)
        plan_close(tx, changed, changed.next_at or 0)
    sql.save_monitor(tx, changed)
    facts = MonitorDeclared(deployment, digest_of(to_builtins(spec)), digest_of(to_builtins(policy)))
    tx.emit(facts, tx.ref("deployment", deployment))
    _adopt_champion(tx, deployment, served)
    return get(tx, deployment=deployment)


@verb("monitoring.ask_to_loosen", changes=Approval)
def ask_to_loosen(
    tx: Tx, *, deployment: str, spec: MonitorSpec, reason: str, policy: PolicyAnswers | None = None
) -> Approval:
    """Ask an approver to let a declaration pass that loosens rules; once approved, ``monitoring.declare`` takes it.

    Raises:
        InvalidInput: It loosens nothing, or says no reason.
    """
    get(tx, deployment=deployment)
    return loosening.ask(tx, find_loosening(tx, deployment, spec, policy), reason)


def find_loosening(tx: Tx, deployment: str, spec: MonitorSpec, policy: PolicyAnswers | None) -> Loosening:
    """Return what a declaration would loosen of what is declared now."""
    monitor = sql.find_monitor(tx, deployment)
    shown = spec if monitor is None else shown_spec(check_spec(spec, monitor.task))
    return _loosening(tx, monitor, deployment, shown, policy)


def _loosening(
    tx: Tx, before: Monitor | None, deployment: str, spec: MonitorSpec, policy: PolicyAnswers | None
) -> Loosening:
    known, declared_at = (None, None) if before is None else ([before.spec, before.policy], before.recorded_at)
    return Loosening(
        tx.ref("monitor", deployment),
        f"the monitor of {deployment}",
        [] if before is None else loosened(before.spec, spec, before.policy, policy),
        loosening.change_digest(known, declared_at, [spec, policy]),
        "monitoring.ask_to_loosen",
    )


@verb("monitoring.open_windows", changes=Monitor, internal=True, parts=SERVER_ALONE)
def open_windows(tx: Tx, *, deployment: str, start_at: int) -> Monitor | None:
    """Begin to close windows, from the one that holds ``start_at``; once begun, or unwatched, it changes nothing."""
    monitor = sql.find_monitor(tx, deployment)
    if monitor is None or monitor.next_at is not None:
        return monitor
    begin = start_at - start_at % monitor.spec.every_us
    opened = sql.save_monitor(tx, msgspec.structs.replace(monitor, next_at=begin))
    plan_close(tx, opened, begin)
    tx.emit(WindowsOpened(deployment, begin), tx.ref("deployment", deployment))
    return opened


@verb("monitoring.set_reference", changes=Monitor, internal=True)
def set_reference(
    tx: Tx,
    *,
    deployment: str,
    profile_digest: Digest,
    model_version: int | None = None,
    metrics: dict[str, float] | None = None,
) -> Monitor | None:
    """Set what windows are compared with: the profile of a version's training rows, and its held-out metrics.

    Drift and spans of performance begin anew, because they would mix two models. Without a monitor it changes nothing.
    ``metrics`` are the held-out ones of a model that is not in the registry.
    """
    monitor = sql.find_monitor(tx, deployment)
    if monitor is None:
        return None
    held_out = _held_out(tx, deployment, model_version) or metrics or {}
    known = (monitor.reference, monitor.model_version, monitor.metrics)
    if known == (profile_digest, model_version, held_out):
        return monitor
    changed = msgspec.structs.replace(
        monitor,
        reference=profile_digest,
        reference_at=monitor.reference_at if monitor.is_external else tx.now_us,
        model_version=model_version,
        metrics=held_out,
    )
    sql.save_monitor(tx, changed)
    tx.emit(ReferenceSet(deployment, profile_digest, model_version), tx.ref("deployment", deployment))
    return changed


@verb("monitoring.start_reference", changes=Monitor)
def start_reference(
    tx: Tx,
    *,
    deployment: str,
    blob: BlobRef,
    columns: list[str] | None = None,
    time: str = "",
    score: str = "",
    model_version: int | None = None,
    metrics: dict[str, float] = {},  # noqa: B006 - never changed
) -> Job:
    """Start the job that profiles a Parquet blob of reference rows and sets it as the reference.

    Args:
        deployment: A deployment with a monitor.
        blob: The stored Parquet file.
        columns: Its features; None takes every column but ``time`` and ``score``.
        time: Its event-time column; with it, what stretches of the reference reach by themselves is no drift.
        score: Its column of scores, to watch drift of the answers too.
        model_version: The version that was trained on these rows.
        metrics: Held-out metrics of a model that is not in the registry; decay is judged against them.

    Raises:
        PermissionDenied: The model is served here, where its training says what is compared with, and the caller is no
            approver.
    """
    get(tx, deployment=deployment)
    if not serving.get(tx, deployment=deployment).spec.is_external:
        require_role(tx, Role.APPROVER, "compare a model that is served here with other rows than it was trained on")
    tx.keep_blobs(blob)
    work = BuildReference(deployment, blob.digest, columns, time, score, model_version, metrics)
    job = tx.start_job(work, tx.ref("deployment", deployment))
    tx.emit(ReferenceStarted(deployment, job.job_id), job.ref)
    return job


def check_spec(spec: MonitorSpec, task: str) -> MonitorSpec:
    """Return the declaration with its metric filled in.

    Raises:
        InvalidInput: Something in it cannot work; names the field.
    """
    for names, field, most in (
        (spec.segments, "segments", MOST_RULES),
        (spec.channels, "channels", MOST_RULES),
        (spec.ignore, "ignore", MOST_COLUMNS),
    ):
        check_count(names, field, most)
    known = METRICS.get(task, ())
    if spec.performance and spec.performance not in known:
        rule = f"for {task}: {', '.join(known) or 'none'}"
        raise InvalidInput("this metric cannot be watched", field="performance", value=spec.performance, rule=rule)
    if spec.drift not in plugin_names(DRIFT_METRICS):
        rule = f"one of {', '.join(plugin_names(DRIFT_METRICS))}"
        raise InvalidInput("no such distance", field="drift", value=spec.drift, rule=rule)
    _check_stretches(spec)
    if spec.value:
        parse_expression(spec.value, COUNTS)
        if task != "binary":
            raise InvalidInput(
                "a business value counts right and wrong yes-or-no answers", field="value", rule="binary"
            )
    for channel in spec.channels:
        if channel.partition(":")[0] not in plugin_names("alert_channels"):
            rule = f"one of {', '.join(plugin_names('alert_channels'))}"
            raise InvalidInput("no such channel", field="channels", value=channel.partition(":")[0], rule=rule)
        if channel.rstrip(":") in NEED_TARGET:
            rule = "webhook:https://host/path"
            raise InvalidInput("this channel leads nowhere", field="channels", value=channel, rule=rule)
    return msgspec.structs.replace(spec, performance=spec.performance or (known[0] if known else ""))


def _check_stretches(spec: MonitorSpec) -> None:
    if spec.every_us < MINUTE_US:
        raise InvalidInput("windows this short measure nothing", field="every", value=spec.every_us, rule="at least 1m")
    if spec.span_us < spec.every_us or min(spec.label_lag_us, spec.grace_us) < 0 or spec.persist < 1:
        rule = "span at least every; label_lag and grace not negative; persist at least 1"
        raise InvalidInput("these stretches do not fit", field="span", value=spec.span_us / HOUR_US, rule=rule)
    if spec.audit_us and spec.audit_us < spec.every_us:
        rule = f"0s for never, else at least a window: {format_duration(spec.every_us)}"
        raise InvalidInput("audits come with windows", field="audit", value=format_duration(spec.audit_us), rule=rule)
    for field, stretch_us in (("span", spec.span_us), ("over", spec.over_us)):
        if stretch_us > MOST_PARTS * spec.every_us:
            raise InvalidInput(
                "so long a stretch of such short windows is not judged at every one of them",
                field=field,
                value=format_duration(stretch_us),
                rule=f"at most {MOST_PARTS} windows of {format_duration(spec.every_us)}",
                next_step=f"{field}={format_duration(MOST_PARTS * spec.every_us)} or less, or a longer every",
            )


def _adopt_champion(tx: Tx, deployment: str, served: serving.DeploymentSpec) -> None:
    """Begin at once where predictions may come already: an external deployment, or one that serves a version."""
    if not served.is_external:
        champion = serving.status(tx, deployment=deployment).champion
        if champion is None:
            return
        model_version = registry.get_version(tx, model=served.model, version=champion)
        set_reference(
            tx,
            deployment=deployment,
            profile_digest=model_version.monitoring_profile,
            model_version=model_version.version,
        )
    open_windows(tx, deployment=deployment, start_at=tx.now_us)


def _held_out(tx: Tx, deployment: str, model_version: int | None) -> dict[str, float]:
    """Return the held-out metrics of a version; a refit has those of the version whose recipe it repeats."""
    if model_version is None:
        return {}
    model = serving.get(tx, deployment=deployment).spec.model
    found = registry.get_version(tx, model=model, version=model_version)
    if found.refit_of is not None:
        found = registry.get_version(tx, model=model, version=found.refit_of)
    return found.metrics
