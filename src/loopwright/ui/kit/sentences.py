"""Events as plain sentences: who did what to which ref, and why."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from loopwright import data, features, governance, loop, monitoring, pipelines, registry, serving, tracking
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.events import Event, Facts, event_type
from loopwright.serving import ReleasedVariant
from loopwright.store import events as store_events
from loopwright.ui.kit.addresses import name_of, page_of
from loopwright.ui.kit.words import number, percent, plural

F = TypeVar("F", bound=Facts)


class Sentence(msgspec.Struct, frozen=True):
    """One event as people read it. ``topic`` is its room, ``subject`` the name that links to ``href``.

    ``origin`` says with which token it was called and from where, empty where neither is known.
    ``times`` counts the events in a row that read the same; ``first_us`` is when the oldest of them happened. There may
    be more where ``is_cut``.
    """

    position: int
    at_us: int
    recorded_at: int
    topic: str
    type: str
    text: str
    subject: str
    href: str
    ref: str
    actor: str
    reason: str
    times: int = 1
    first_us: int = 0
    is_cut: bool = False
    origin: str = ""


def _tell(kind: type[F], words: Callable[[F], str]) -> tuple[str, Callable[[Event], str]]:
    """Return a type of event with how its facts read; mypy sees that a sentence names only facts there are."""
    return event_type(kind), lambda event: words(event.read(kind))


def _says(kind: type[Facts], words: str) -> tuple[str, Callable[[Event], str]]:
    """Return a type of event that reads the same whatever its facts are."""
    return event_type(kind), lambda _event: words


SENTENCES = dict(
    (
        _tell(governance.ApprovalAsked, lambda facts: f"approval asked: {facts.question}"),
        _tell(loop.GarbageFreed, lambda facts: f"{facts.size_bytes / 1e6:.1f} MB freed that nothing named"),
        _says(governance.ApprovalApproved, "approved"),
        _says(governance.ApprovalRejected, "rejected"),
        _says(governance.ApprovalWithdrawn, "question withdrawn"),
        _tell(governance.ProjectCreated, lambda facts: f"project created, {facts.clock} clock"),
        _tell(governance.ProjectChanged, lambda facts: f"is owned by {facts.owner or 'nobody'}, risk {facts.risk}"),
        _says(governance.ProjectClosed, "project closed"),
        _says(governance.ProjectDeleted, "project deleted"),
        _tell(governance.TokenCreated, lambda facts: f"token for {facts.actor} created, {facts.role.value}"),
        _says(governance.TokenRevoked, "token revoked"),
        _tell(governance.BlobRead, lambda _facts: "read as a file"),
        _tell(governance.CheckpointsBegun, lambda facts: f"checkpoints of the log begin at position {facts.position}"),
        _tell(
            governance.LogPutBack,
            lambda facts: f"an older log was put back, {plural(facts.given_up, 'checkpoint')} given up",
        ),
        _tell(
            governance.CallDenied,
            lambda facts: (
                f"call of {facts.verb} refused, from {facts.client or 'here'}"
                + (f", by the gateway {facts.gateway}" if facts.gateway else "")
            ),
        ),
        _tell(data.DatasetDeclared, lambda facts: "declared" if facts.is_new else "declared anew"),
        _tell(data.ImportStarted, lambda facts: f"{facts.operation} started"),
        _says(data.ImportUnchanged, "import brought nothing new"),
        _says(data.ImportFailed, "import failed"),
        _tell(
            data.VersionReady,
            lambda facts: (
                f"ready, {number(facts.rows_added)} rows added, {number(facts.rows)} in all"
                + (", released from quarantine" if facts.is_released else "")
            ),
        ),
        _says(data.VersionQuarantined, "quarantined, a check failed"),
        _tell(data.DiffStarted, lambda facts: f"comparison of v{facts.before} and v{facts.after} started"),
        _tell(
            data.TagSet,
            lambda facts: (
                f"tag {facts.tag} names v{facts.version} now" + (f", not v{facts.before}" if facts.before else "")
            ),
        ),
        _tell(data.TagRemoved, lambda facts: f"tag {facts.tag} removed, it named v{facts.before}"),
        _tell(data.RowsRead, lambda facts: "rows read" if facts.part == "rows" else "failing rows read"),
        _says(features.ViewDeclared, "view declared"),
        _says(features.RequestDeclared, "on-request function declared"),
        _says(features.ServiceDeclared, "service declared"),
        _tell(features.PlanFrozen, lambda facts: f"plan of {plural(len(facts.columns), 'column')} frozen"),
        _tell(features.MaterializeStarted, lambda facts: f"fill from v{facts.dataset_version} started"),
        _tell(features.Materialized, lambda facts: f"online store filled, {number(facts.rows)} rows"),
        _tell(features.TrainingSetRecorded, lambda facts: f"training set frozen, {number(facts.rows)} rows"),
        _says(store_events.RetentionSet, "how long rows are kept was declared"),
        _tell(store_events.RowsRemoved, lambda facts: f"{facts.rows:,} {facts.kind} removed by retention"),
        _says(store_events.LabelledByKey, "labels by key came for the first time"),
        _tell(store_events.ChunksMerged, lambda facts: f"{facts.before:,} chunks became {facts.after:,}"),
        _tell(store_events.JobDone, lambda facts: f"job {facts.kind} done"),
        _tell(store_events.JobFailed, lambda facts: f"job {facts.kind} failed"),
        _tell(store_events.JobRetried, lambda facts: f"job {facts.kind} started again"),
        _tell(store_events.JobCancelAsked, lambda facts: f"end of job {facts.kind} asked for"),
        _tell(store_events.JobCancelled, lambda facts: f"job {facts.kind} cancelled"),
        _tell(store_events.JobDismissed, lambda facts: f"failed job {facts.kind} dismissed"),
        _tell(loop.ProjectApplied, lambda facts: f"project applied, {facts.new} new, {facts.changed} changed"),
        _tell(
            loop.OnlineTidied,
            lambda facts: (
                f"online store tidied: {number(facts.entities)} entities, {len(facts.views)} views that nobody reads"
            ),
        ),
        _tell(loop.Deleted, lambda facts: f"deleted{_with_parts(facts.parts)}"),
        _says(loop.Restored, "platform restored from a backup"),
        _tell(
            loop.SkewAudited,
            lambda facts: f"{number(facts.unequal_rows)} of {number(facts.rows)} served rows differ from the datasets",
        ),
        _says(loop.ExportStarted, "predictions are written out"),
        _tell(loop.EvaluationStarted, lambda facts: f"measuring of v{facts.version} started"),
        _tell(
            loop.Trained,
            lambda facts: f"v{facts.version} trained, its gates {'let it pass' if facts.passed else 'refused it'}",
        ),
        _tell(loop.RetrainStarted, lambda facts: f"retrain started, cause {facts.cause}"),
        _tell(loop.RetrainChanged, lambda facts: f"retrain {facts.state.replace('_', ' ')}"),
        _tell(loop.BacktestStarted, lambda facts: f"backtest of {facts.deployment} started"),
        _tell(
            loop.BacktestBegun,
            lambda facts: "played" if facts.attempt < 2 else f"played from its start again, attempt {facts.attempt}",
        ),
        _tell(loop.BacktestFinished, lambda facts: f"backtest {facts.state}"),
        _tell(loop.ReactionFailed, lambda facts: f"reaction {facts.rule} failed"),
        _tell(loop.TimerFailed, lambda facts: f"timer {facts.verb} failed"),
        _tell(monitoring.AlertFired, lambda facts: f"alert: {facts.message}"),
        _says(monitoring.MonitorDeclared, "monitor declared"),
        _says(monitoring.IncidentAcknowledged, "incident acknowledged"),
        _tell(monitoring.IncidentAssigned, lambda facts: f"incident given to {facts.owner}"),
        _tell(monitoring.IncidentOpened, lambda facts: f"incident opened: {facts.title}"),
        _says(monitoring.IncidentReopened, "incident reopened"),
        _says(monitoring.IncidentResolved, "incident resolved"),
        _says(monitoring.WindowsOpened, "windows opened"),
        _says(monitoring.RangeStarted, "windows are measured again"),
        _says(monitoring.ReferenceStarted, "a new reference is profiled"),
        _tell(
            monitoring.ReferenceSet,
            lambda facts: (
                "compared with other rows from now on"
                if facts.model_version is None
                else f"compared with version {facts.model_version} from now on"
            ),
        ),
        _says(monitoring.WindowStarted, "window is measured"),
        _tell(monitoring.WindowClosed, lambda facts: f"window closed, {number(facts.predictions)} predictions"),
        _tell(monitoring.WindowSettled, lambda facts: f"window settled, {number(facts.labels)} labels"),
        _says(monitoring.WindowRestated, "window measured again"),
        _says(pipelines.PipelineDeclared, "pipeline declared"),
        _says(pipelines.ExecutionStarted, "execution started"),
        _says(pipelines.ExecutionFinished, "execution finished"),
        _says(pipelines.ExecutionFailed, "execution failed"),
        _says(pipelines.ExecutionCancelled, "execution cancelled"),
        _tell(pipelines.ExecutionRetried, lambda facts: f"execution runs again, round {facts.round}"),
        _says(pipelines.StartSkipped, "scheduled start left out"),
        _tell(pipelines.StepFinished, lambda facts: f"step {facts.step} {facts.state}"),
        _tell(
            pipelines.StepAttemptFailed,
            lambda facts: f"step {facts.step} failed" + (", it is tried again" if facts.will_retry else ""),
        ),
        _tell(registry.AliasSet, lambda facts: f"is now {facts.alias}"),
        _tell(registry.AliasRemoved, lambda facts: f"alias {facts.alias} removed"),
        _tell(registry.GatesEvaluated, lambda facts: "gates let it pass" if facts.passed else "gates refused it"),
        _says(registry.GatesForced, "passed by a person in place of its gates"),
        _says(registry.ModelImported, "model imported"),
        _says(registry.VersionRegistered, "registered"),
        _says(serving.DeploymentDeclared, "deployment declared"),
        _tell(serving.Released, lambda facts: "now " + traffic_words(facts.variants)),
        _tell(
            serving.ReleaseFailed,
            lambda facts: f"release {facts.number} could not be loaded, the one before serves on",
        ),
        _tell(serving.Retired, lambda facts: f"retired; v{facts.version} answered last"),
        _tell(serving.RolledBack, lambda facts: f"rolled back to v{facts.version} from v{facts.left}"),
        _tell(serving.RolloutStarted, lambda facts: f"rollout of v{facts.version} began"),
        _tell(serving.RolloutAborted, lambda facts: f"rollout of v{facts.version} aborted"),
        _tell(serving.RolloutFinished, lambda facts: f"rollout finished, v{facts.version} serves"),
        _tell(serving.RolloutPaused, lambda facts: f"rollout of v{facts.version} paused"),
        _tell(serving.RolloutResumed, lambda facts: f"rollout of v{facts.version} goes on"),
        _tell(serving.RolloutStepStarted, lambda facts: f"v{facts.version} began its next step"),
        _tell(serving.RolloutStepJudged, lambda facts: f"v{facts.version} step judged"),
        _tell(serving.ScoreStarted, lambda facts: f"scoring of a file by v{facts.version} started"),
        _tell(serving.Scored, lambda facts: f"{number(facts.rows)} rows scored by v{facts.version}"),
        _tell(tracking.RunStarted, lambda facts: f"run started in {facts.experiment}"),
        _tell(tracking.ParamsAdded, lambda facts: f"{plural(len(facts.names), 'further param')} logged"),
        _says(tracking.RunFinished, "run finished"),
        _says(tracking.RunFailed, "run failed"),
        _says(tracking.RunKilled, "run killed"),
        _tell(tracking.ArtifactLogged, lambda facts: f"artifact {facts.path} logged"),
        _says(tracking.TagsSet, "tags set"),
    )
)
"""How each type of event reads."""


def sentence(event: Event) -> Sentence:
    """Return an event as a sentence; a type without words of its own reads as its name."""
    return Sentence(
        position=event.position,
        at_us=event.event_at,
        recorded_at=event.recorded_at,
        topic=event.type.partition(".")[0],
        type=event.type,
        text=_text(event),
        subject=name_of(event.ref, event.project),
        href=page_of(event.ref, event.project),
        ref=event.ref,
        actor=event.actor,
        reason=event.reason,
        origin=" ".join(part for part in (event.token_id, event.client and f"from {event.client}") if part),
    )


def recent_changes(events: Sequence[Event], quiet: tuple[str, ...], most: int, *, read: int) -> list[Sentence]:
    """Return events as at most ``most`` sentences, newest first; what is told again and again in a row is told once.

    Args:
        events: Newest first.
        quiet: Beginnings of the types that are left out.
        most: How many sentences.
        read: How many events were asked for at most.
    """
    told: list[Sentence] = []
    for one in (sentence(event) for event in events if not event.type.startswith(quiet)):
        if told and _what(told[-1]) == _what(one):
            told[-1] = msgspec.structs.replace(told[-1], times=told[-1].times + 1, first_us=one.at_us)
        elif len(told) == most:
            return told
        else:
            told.append(one)
    if told and len(events) >= read:
        told[-1] = msgspec.structs.replace(told[-1], is_cut=True)
    return told


def _what(one: Sentence) -> tuple[str, ...]:
    """Return what two sentences share that are told as one; each look at a rollout gives its own figures as reason."""
    reason = "" if one.type == "serving.rollout_step_judged" else one.reason
    return one.type, one.ref, one.text, one.actor, reason


def _text(event: Event) -> str:
    """Return an event in words; what was recorded with other facts than today's reads as its type alone."""
    words = SENTENCES.get(event.type)
    if words is not None:
        with suppress(InvalidInput):
            return words(event)
    return event.type.partition(".")[2].replace("_", " ")


def traffic_words(variants: Sequence[ReleasedVariant]) -> str:
    """Return who serves what share, as in ``v16 90 %, v17 10 %, v2 unseen``."""
    parts = [
        f"v{released_variant.version} {'unseen' if released_variant.is_shadow else percent(released_variant.weight)}"
        for released_variant in variants
    ]
    return ", ".join(parts) or "nothing"


def _with_parts(parts: dict[str, int]) -> str:
    return "".join(f", with {number(count)} {words}{'' if count == 1 else 's'}" for words, count in parts.items())
