"""Retrain: when the policy says so, at most as often as people allow, one at a time for each deployment."""

from typing import Any

from loopwright import monitoring, pipelines, registry, serving
from loopwright.kernel.bounds import check_count
from loopwright.kernel.clock import DAY_US, format_duration, format_moment
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.verbs import query, verb
from loopwright.loop import sql
from loopwright.loop.events import RetrainChanged, RetrainStarted
from loopwright.loop.types import ProjectSpec, RetrainRecord, RetrainSpec, When
from loopwright.monitoring import Alert, DecayLimit, PolicyAnswers, Window
from loopwright.registry import ModelVersion
from loopwright.store.tx import Tx

LIVE = ("training", "rolling_out")


@query("loop.retrains")
def list_retrains(tx: Tx, *, deployment: str | None = None) -> list[RetrainRecord]:
    """Return the retrains the platform decided on, newest first."""
    return sql.list_retrains(tx, deployment)


@verb("loop.start_retrain", changes=RetrainRecord)
def start_retrain(tx: Tx, *, deployment: str, cause: str = "person", reason: str = "") -> RetrainRecord:
    """Start the deployment's training now; one live retrain a deployment.

    Raises:
        InvalidInput: The deployment declares no retrain policy.
        Conflict: A retrain is under way already.
    """
    policy = find_policy(tx, deployment)
    if policy is None:
        raise InvalidInput(
            "this deployment has no retrain policy",
            field="deployment",
            value=deployment,
            next_step="p.deployment(..., retrain=lw.Retrain(fit, when=[...]))",
        )
    live = live_retrain(tx, deployment)
    if live is not None:
        raise Conflict(
            f"a retrain of {deployment} is {live.state.replace('_', ' ')} since {format_moment(live.event_at)}",
            field="deployment",
            value=deployment,
            rule="one live retrain a deployment",
            next_step=f"wait for it, or cancel its execution {live.execution_id}",
        )
    execution = pipelines.start(tx, pipeline=policy.train, params={"at": tx.now_us, "reason": reason}, reason=reason)
    record = RetrainRecord(
        retrain_id=tx.new_id("retr"),
        deployment=deployment,
        execution_id=execution.execution_id,
        cause=cause,
        reason=reason,
        state="training",
        outcome="",
        event_at=tx.now_us,
    )
    sql.insert_retrain(tx, record)
    facts = RetrainStarted(record.retrain_id, execution.execution_id, cause)
    tx.emit(facts, tx.ref("deployment", deployment), reason=reason)
    return record


def find_policy(tx: Tx, deployment: str) -> RetrainSpec | None:
    """Return the retrain policy that was applied for a deployment."""
    found = sql.newest_spec(tx)
    policies = [] if found is None else found[2].retrains
    return next((retrain_spec for retrain_spec in policies if retrain_spec.deployment == deployment), None)


def answers_of(policy: RetrainSpec | None) -> PolicyAnswers | None:
    """Return what monitoring has to know of a policy: which of its findings the policy answers, by which limits."""
    if policy is None:
        return None
    decay = [
        DecayLimit(float(trigger.args["by"]), int(trigger.args.get("least_labels", 0)))
        for trigger in policy.when
        if trigger.kind == "decay"
    ]
    return PolicyAnswers(any(trigger.kind == "drift" for trigger in policy.when), decay)


def check_policy(policy: RetrainSpec, spec: ProjectSpec) -> None:
    """Refuse a policy that could never act.

    Raises:
        InvalidInput: Its training makes another model or sets an alias, or nothing measures what a trigger asks for.
    """
    deployment = next(
        deployment_spec for deployment_spec in spec.deployments if deployment_spec.name == policy.deployment
    )
    train = next(train_spec for train_spec in spec.trains if train_spec.name == policy.train)
    field = f"retrains.{policy.deployment}"
    check_count(policy.when, f"{field}.when")
    if policy.most < 1 or policy.per_us < 1:
        rule = "at least one training in some time; to end a policy leave it out"
        raise InvalidInput("this policy would never train", field=f"{field}.most", value=policy.most, rule=rule)
    for trigger in policy.when:
        for name, value in trigger.args.items():
            is_text = name in ("metric", "against")
            if not (isinstance(value, str) if is_text else isinstance(value, int | float)):
                rule = "a text" if is_text else "a number"
                raise InvalidInput(
                    f"{trigger.kind} cannot read this", field=f"{field}.when.{name}", value=value, rule=rule
                )
    if train.alias or train.model != deployment.model:
        what = f"sets the alias {train.alias}" if train.alias else f"trains {train.model}"
        raise InvalidInput(
            f"{train.name} {what}, and {deployment.name} serves {deployment.model}",
            field=f"{field}.train",
            value=train.name,
            rule="a retrain rolls out a version of the deployment's model",
        )
    monitor = spec.monitors.get(policy.deployment)
    if policy.when and monitor is None:
        raise InvalidInput(
            f"nothing watches {policy.deployment}, so no trigger ever fires",
            field=f"{field}.when",
            next_step="p.deployment(..., monitor=lw.Monitor(every='1d'))",
        )
    for trigger in policy.when:
        metric = trigger.args.get("metric")
        if trigger.kind != "decay" or monitor is None:
            continue
        watched = monitoring.check_spec(monitor, deployment.task).performance
        if metric != watched:
            raise InvalidInput(
                f"decay of {metric} is never measured on {policy.deployment}",
                field=f"{field}.when",
                value=metric,
                rule=f"{watched}, what its monitor measures",
                next_step=f'lw.when.decay("{watched}", ...), or lw.Monitor(performance="{metric}")',
            )


def live_retrain(tx: Tx, deployment: str) -> RetrainRecord | None:
    """Return the retrain of a deployment that has not ended."""
    found = sql.list_retrains(tx, deployment, states=LIVE)
    return found[0] if found else None


def consider(tx: Tx, deployment: str) -> RetrainRecord | None:
    """Start a retrain if a trigger fires, no retrain or rollout is under way and the budget allows; return it.

    Budgets count event time: at most ``most`` starts of the training, by whomever, in any stretch of ``per_us``.
    """
    policy = find_policy(tx, deployment)
    if policy is None or live_retrain(tx, deployment) is not None:
        return None
    # A version that rolls out may heal what the triggers see: its windows shall speak first.
    rollout = serving.status(tx, deployment=deployment).rollout
    if rollout is not None and rollout.is_live:
        return None
    # Executions, not retrains: a training that a person or a schedule started has learned from the same rows.
    started = pipelines.list_executions(tx, pipeline=policy.train, limit=policy.most)
    if sum(execution.event_at > tx.now_us - policy.per_us for execution in started) >= policy.most:
        return None
    fired = fired_trigger(tx, deployment, policy.when)
    if fired is None:
        return None
    cause, reason = fired
    return start_retrain(tx, deployment=deployment, cause=cause, reason=reason)


def fired_trigger(tx: Tx, deployment: str, triggers: list[When]) -> tuple[str, str] | None:
    """Return cause and sentence of the first trigger that fires on the newest windows."""
    champion = find_champion(tx, deployment)
    if champion is None:
        return None
    for trigger in triggers:
        reason = _REASONS[trigger.kind](tx, trigger.args, champion, deployment)
        if reason:
            return trigger.kind, reason
    return None


def find_champion(tx: Tx, deployment: str) -> ModelVersion | None:
    """Return the version that answers on a deployment, whatever other deployments of its model serve."""
    deployment_status = serving.status(tx, deployment=deployment)
    if deployment_status.champion is None:
        return None
    return registry.get_version(tx, model=deployment_status.deployment.spec.model, version=deployment_status.champion)


def _drift_reason(tx: Tx, args: dict[str, Any], champion: ModelVersion, deployment: str) -> str:
    """Look whether monitoring found the newest window to drift in as many features as the trigger asks for."""
    finding = _finding(tx, "drift", champion, monitoring.list_windows(tx, deployment=deployment, limit=1))
    return finding.message if finding is not None and len(finding.facts["features"]) >= int(args["features"]) else ""


def _decay_reason(tx: Tx, args: dict[str, Any], champion: ModelVersion, deployment: str) -> str:
    """Look whether monitoring found decay at the end of the newest settled window, by this trigger's own limits."""
    settled = monitoring.list_windows(tx, deployment=deployment, state="settled", limit=1)
    finding = _finding(tx, "decay", champion, settled)
    return "" if finding is None else finding.message


def _finding(tx: Tx, kind: str, champion: ModelVersion, newest: list[Window]) -> Alert | None:
    """Return what monitoring found in a window, if that was judged against the champion's own training rows.

    The policy does not measure again: an incident that it answers and the retrain are then one story, not two rules
    that may disagree.
    """
    if not newest or newest[0].model_version != champion.version:
        return None
    return monitoring.alert_of(tx, newest[0], kind)


def _age_reason(tx: Tx, args: dict[str, Any], champion: ModelVersion, deployment: str) -> str:
    age = tx.now_us - champion.event_at
    if age < int(args["age_us"]):
        return ""
    limit = format_duration(int(args["age_us"]))
    return f"version {champion.version} is {age // DAY_US} days old, limit {limit}"


_REASONS = {"drift": _drift_reason, "decay": _decay_reason, "older_than": _age_reason}


def close_retrain(
    tx: Tx, deployment: str, state: str, outcome: str, *, execution_id: str | None = None, version: int | None = None
) -> None:
    """Record how the live retrain of an execution, or of the version that rolls out, has ended; others stay live."""
    found = sql.list_retrains(tx, deployment, states=LIVE, execution_id=execution_id, version=version)
    for record in found:
        change_retrain(tx, record, state, outcome)


def change_retrain(tx: Tx, record: RetrainRecord, state: str, outcome: str, *, version: int | None = None) -> None:
    """Record that a retrain goes on, now with the version that rolls out, or how it ended."""
    finished_at = None if state in LIVE else tx.now_us
    values = {"state": state, "outcome": outcome, "finished_at": finished_at, "version": version or record.version}
    sql.update_retrain(tx, record.retrain_id, **values)
    facts = RetrainChanged(record.retrain_id, state, record.cause)
    tx.emit(facts, tx.ref("deployment", record.deployment), reason=outcome)
