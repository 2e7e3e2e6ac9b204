"""The joints of the loop: which event is answered by which verb, and why. One function a rule."""

from loopwright import data, features, monitoring, pipelines, registry, serving
from loopwright.governance import ApprovalApproved, ApprovalRejected, approvals
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import LoopwrightError, Unavailable
from loopwright.kernel.events import Event
from loopwright.kernel.refs import parse_ref
from loopwright.loop import audits, fills, key_match, label_feed, promote, push_feed, retrain, sql
from loopwright.loop.attention import LASTING
from loopwright.loop.backtest import backtests
from loopwright.loop.engine.reactor import reaction
from loopwright.loop.engine.retries import settle_incident
from loopwright.loop.events import Trained
from loopwright.pipelines import Execute, ExecutionCancelled, ExecutionFailed, ExecutionRetried
from loopwright.serving import DeploymentSpec
from loopwright.store import jobs
from loopwright.store.events import JobCancelled, JobDismissed, JobDone, JobFacts, JobFailed, JobRetried, LabelledByKey
from loopwright.store.tx import Tx
from loopwright.store.work import kind_named, kind_of


@reaction(data.VersionReady)
def fill_online_store(tx: Tx, event: Event, ready: data.VersionReady) -> None:
    """A new dataset version feeds the views over it, unless it was made of rows that were pushed.

    What is appended is filled in also where programs push: nobody can tell from the numbers of rows that they are the
    same, and rows that came both ways count once.
    """
    dataset, version = ready.dataset, ready.version
    if not push_feed.were_fed(tx, ready.job_id):
        fills.fill_from_version(tx, dataset, version, f"version {version} of {dataset} is ready")


def _is_replacement(tx: Tx, event: Event) -> bool:
    return event.read(data.VersionReady).operation == "replace"


@reaction(data.VersionReady, only_if=_is_replacement)
def feed_replaced_rows(tx: Tx, event: Event, ready: data.VersionReady) -> None:
    """Rows that take the place of others get the labels that those had been given."""
    label_feed.look_again(tx, dataset=ready.dataset)


def _is_completion(tx: Tx, event: Event) -> bool:
    return event.read(data.VersionReady).operation == "complete"


@reaction(data.VersionReady, only_if=_is_completion)
def feed_more_labels(tx: Tx, event: Event, ready: data.VersionReady) -> None:
    """Rows that were completed with as many labels as one import takes get the others next."""
    label_feed.feed_on(tx, dataset=ready.dataset)


@reaction(LabelledByKey)
def match_labels(tx: Tx, event: Event, came: LabelledByKey) -> None:
    """Labels that name rows are matched with predictions, from the first ones on."""
    key_match.begin(tx, deployment=came.deployment)


def _is_upsert(tx: Tx, event: Event) -> bool:
    return event.read(data.VersionReady).operation == "upsert"


@reaction(data.VersionReady, only_if=_is_upsert)
def feed_more_pushes(tx: Tx, event: Event, ready: data.VersionReady) -> None:
    """A dataset that was given as many pushed rows as one import takes gets the others next."""
    push_feed.feed_on(tx, dataset=ready.dataset)


@reaction(features.PlanFrozen)
def fill_new_plan(tx: Tx, event: Event, frozen: features.PlanFrozen) -> None:
    """A plan with views that are new or changed brings their past into the online store before a model reads it."""
    service = parse_ref(event.ref).name
    fills.fill_frozen_plan(tx, frozen.digest, f"a new plan of {service} reads it")


@reaction(serving.Released)
def fill_released_views(tx: Tx, event: Event, released: serving.Released) -> None:
    """A release that reads other views than the one before brings them up to date."""
    deployment, number = released.deployment, released.number
    before = serving.get_release(tx, deployment=deployment, number=number - 1) if number > 1 else None
    if before is not None and before.is_retired:
        before = None  # meanwhile no gateway kept its views up to date
    release = serving.get_release(tx, deployment=deployment, number=number)
    fills.fill_released_plans(tx, release, before, f"release {number} of {deployment} reads it")


@reaction(data.VersionQuarantined)
def report_quarantine(tx: Tx, event: Event, quarantined: data.VersionQuarantined) -> None:
    """A quarantined version needs a person: the data, or the check, is wrong."""
    monitoring.raise_alert(
        tx,
        subject=event.ref,
        kind="data",
        message=event.reason,
        facts=to_builtins(quarantined),
        needs_person=True,
        severity="warning",
    )


@reaction(data.VersionReady)
def close_quarantine(tx: Tx, event: Event, ready: data.VersionReady) -> None:
    """A version that a person released from quarantine needs nobody any more."""
    if ready.is_released:
        settle_incident(tx, event.ref, "data", event.reason)


@reaction(Trained)
def roll_out_trained(tx: Tx, event: Event, trained: Trained) -> None:
    """A version that passed its gates is rolled out in every deployment of its model; others are refused."""
    model, version, reason = trained.model, trained.version, event.reason
    if trained.alias:
        registry.set_alias(tx, model=model, alias=trained.alias, version=version, reason=reason)
        return
    for spec in deployments_of(tx, model):
        if serving.status(tx, deployment=spec.name).retired is not None:
            continue  # only somebody who deploys brings an endpoint back
        if trained.passed:
            _roll_out(tx, spec.name, version, trained.execution_id, reason)
        else:
            retrain.close_retrain(tx, spec.name, "refused", reason, execution_id=trained.execution_id)


def _roll_out(tx: Tx, deployment: str, version: int, execution_id: str, reason: str) -> None:
    """Start the rollout of a trained version; where it cannot be, a person is told and the retrain ends."""
    try:
        with tx.connection.begin_nested():  # what one deployment refuses leaves nothing behind for the others
            serving.start_rollout(tx, deployment=deployment, version=version, reason=reason)
    except Unavailable:
        raise
    except LoopwrightError as error:
        message = f"version {version} is not rolled out: {error.message}"
        retrain.close_retrain(tx, deployment, "refused", message, execution_id=execution_id)
        monitoring.raise_alert(
            tx,
            subject=tx.ref("deployment", deployment),
            kind="retrain",
            message=message,
            facts={"execution_id": execution_id, "version": version},
        )
        return
    live = retrain.live_retrain(tx, deployment)
    if live is not None and live.execution_id == execution_id:
        retrain.change_retrain(tx, live, "rolling_out", f"version {version} rolls out", version=version)


@reaction(ExecutionFailed, ExecutionCancelled)
def close_ended_retrain(tx: Tx, event: Event, ended: ExecutionFailed | ExecutionCancelled) -> None:
    """A retrain ends with its training; one that failed needs a person, one that was cancelled has had one."""
    execution_id, has_failed = ended.execution_id, isinstance(ended, ExecutionFailed)
    for record in sql.list_retrains(tx, states=retrain.LIVE, execution_id=execution_id):
        retrain.change_retrain(tx, record, "failed" if has_failed else "cancelled", event.reason)
        if has_failed:
            monitoring.raise_alert(
                tx,
                subject=tx.ref("deployment", record.deployment),
                kind="retrain",
                message=f"retrain failed: {event.reason}",
                facts={"execution_id": execution_id},
                severity="critical",
            )


@reaction(ExecutionRetried)
def reopen_retrain(tx: Tx, event: Event, retried: ExecutionRetried) -> None:
    """A retrain whose failed training is run again is live again, unless another one has begun."""
    ended = sql.list_retrains(tx, states=("failed",), execution_id=retried.execution_id)
    for record in ended:
        if retrain.live_retrain(tx, record.deployment) is None:
            retrain.change_retrain(tx, record, "training", "")


@reaction(JobFailed, JobCancelled)
def end_lost_execution(tx: Tx, event: Event, ended: JobFailed | JobCancelled) -> None:
    """An execution whose job was given up has failed, one whose job was cancelled is: nobody is left to run it."""
    if ended.kind != kind_of(Execute).name:
        return
    job = jobs.get(tx, job_id=ended.job_id)
    lost = convert(job.args, Execute)
    execution = pipelines.get(tx, execution_id=lost.execution_id)
    if lost.round != execution.round or execution.state not in pipelines.executions.OPEN:
        return
    if job.state == "failed":
        pipelines.finish_execution(tx, execution_id=execution.execution_id, error=job.error)
    elif job.state == "cancelled":
        pipelines.cancel(tx, execution_id=execution.execution_id, reason=event.reason)


def _is_backtest(tx: Tx, event: Event) -> bool:
    return event.read(JobFacts).kind == backtests.JOB


@reaction(JobDone, only_if=_is_backtest)
def close_played_backtest(tx: Tx, event: Event, ended: JobDone) -> None:
    """A backtest that was played to its end is done; its scratch project goes, unless it is kept."""
    backtests.end_backtest(tx, jobs.get(tx, job_id=ended.job_id), event.reason)


@reaction(JobFailed, JobCancelled, only_if=_is_backtest)
def close_lost_backtest(tx: Tx, event: Event, ended: JobFailed | JobCancelled) -> None:
    """A backtest whose job was given up or cancelled ends with it, and so does what it may do in its project."""
    backtests.end_backtest(tx, jobs.get(tx, job_id=ended.job_id), event.reason)


@reaction(JobRetried, only_if=_is_backtest)
def replay_retried_backtest(tx: Tx, event: Event, retried: JobRetried) -> None:
    """A backtest whose job is tried again runs again, in a new scratch project."""
    backtests.reopen_backtest(tx, jobs.get(tx, job_id=retried.job_id))


@reaction(JobFailed)
def tell_of_failed_job(tx: Tx, event: Event, failed: JobFailed) -> None:
    """A job that failed for good needs a person, unless its kind says otherwise."""
    if not kind_named(failed.kind).needs_person:
        return
    message = f"{failed.kind} failed for good: {event.reason or 'nothing says why'}"
    facts = {"job_id": failed.job_id, "kind": failed.kind, "error": failed.error}
    monitoring.raise_alert(tx, subject=event.ref, kind="job", message=message, facts=facts)


def _has_job_incident(tx: Tx, event: Event) -> bool:
    return bool(monitoring.live_incidents(tx, subject=event.ref, kind="job"))


@reaction(JobDone, only_if=_has_job_incident)
def settle_by_success(tx: Tx, event: Event, done: JobDone) -> None:
    """The incident of failed jobs ends once later ones made up for them."""
    _settle_failed_jobs(tx, event.ref, f"{done.kind} went well again")


@reaction(JobDismissed, JobRetried, only_if=_has_job_incident)
def settle_by_person(tx: Tx, event: Event, answer: JobDismissed | JobRetried) -> None:
    """The incident of failed jobs ends once a person answered them all; one that fails again opens it again."""
    how = "was dismissed" if isinstance(answer, JobDismissed) else "is tried again"
    _settle_failed_jobs(tx, event.ref, f"{answer.kind} {how}")


def _settle_failed_jobs(tx: Tx, ref: str, reason: str) -> None:
    if not jobs.unanswered(tx, LASTING, ref=ref, limit=1):
        settle_incident(tx, ref, "job", reason)


@reaction(ApprovalApproved, ApprovalRejected)
def pass_on_decision(tx: Tx, event: Event, decision: ApprovalApproved | ApprovalRejected) -> None:
    """A rollout that waited for a person goes on or ends."""
    approval = approvals.get(tx, approval_id=decision.approval_id)
    subject = parse_ref(approval.subject)
    if subject.kind == "rollout":
        decide = serving.on_approved if isinstance(decision, ApprovalApproved) else serving.on_rejected
        decide(tx, rollout_id=subject.name, reason=event.reason)


@reaction(registry.AliasSet, registry.AliasRemoved)
def refresh_followers(tx: Tx, event: Event, moved: registry.AliasSet | registry.AliasRemoved) -> None:
    """A followed alias moved: its deployments get a new release with the version it names now."""
    for spec in deployments_of(tx, moved.model):
        if moved.alias in spec.follow:
            serving.refresh(tx, deployment=spec.name, reason=f"alias {moved.alias} moved: {event.reason}")


@reaction(serving.RolloutFinished)
def promote_candidate(tx: Tx, event: Event, finished: serving.RolloutFinished) -> None:
    """A finished rollout makes its version champion, the new reference of monitoring; what it healed is resolved."""
    promote.promote(tx, finished.deployment, finished.version, event.reason)


@reaction(serving.RolloutAborted)
def close_aborted(tx: Tx, event: Event, aborted: serving.RolloutAborted) -> None:
    """An aborted rollout leaves the champion in place and ends its retrain."""
    retrain.close_retrain(tx, aborted.deployment, "refused", event.reason, version=aborted.version)


@reaction(serving.Retired)
def end_retrain(tx: Tx, event: Event, retired: serving.Retired) -> None:
    """An endpoint that ended wants no other version: the retrain under way ends with it."""
    retrain.close_retrain(tx, retired.deployment, "refused", f"the endpoint was retired: {event.reason}")


@reaction(serving.RolledBack)
def follow_rollback(tx: Tx, event: Event, rolled_back: serving.RolledBack) -> None:
    """A rollback moves the champion alias back to the version that serves again."""
    promote.set_champion(tx, rolled_back.deployment, rolled_back.version, event.reason)


@reaction(monitoring.WindowClosed)
def audit_what_was_served(tx: Tx, event: Event, window: monitoring.WindowClosed) -> None:
    """A window that ends a stretch which its monitor has audited starts the audit."""
    audits.start_due(tx, window)


@reaction(monitoring.WindowClosed, monitoring.WindowSettled)
def consider_retrain(tx: Tx, event: Event, window: monitoring.WindowClosed | monitoring.WindowSettled) -> None:
    """Every window is a chance for the retrain policy, which reads the alerts that were raised together with it."""
    retrain.consider(tx, window.deployment)


def deployments_of(tx: Tx, model: str) -> list[DeploymentSpec]:
    """Return the applied deployments of a model."""
    applied = sql.newest_spec(tx)
    specs = [] if applied is None else applied[2].deployments
    return [spec for spec in specs if spec.model == model and not spec.is_external]
