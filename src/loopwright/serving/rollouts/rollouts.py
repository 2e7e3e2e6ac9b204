"""Verbs of whole rollouts: start, answer an approval, pause, resume, abort, roll back."""

from loopwright import registry
from loopwright.governance import approvals, require_role
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.plugins import plugin_names
from loopwright.kernel.verbs import Role, query, verb
from loopwright.registry import ModelVersion
from loopwright.serving import sql
from loopwright.serving.deployments import lock_served
from loopwright.serving.events import RolledBack, RolloutPaused, RolloutResumed, RolloutStarted
from loopwright.serving.releases import Shape, emit_release, refuse_while_live
from loopwright.serving.rollouts.planning import check_steps, describe_step, next_look_at
from loopwright.serving.rollouts.steps import advance, announce, change, find, hold, plan_look, stop
from loopwright.serving.types import (
    Deployment,
    Look,
    Release,
    Rollout,
    RolloutStep,
    candidate_of,
    champion_of,
)
from loopwright.store.tx import Tx


@verb("serving.start_rollout", changes=Rollout)
def start_rollout(
    tx: Tx,
    *,
    deployment: str,
    version: int,
    reason: str,
    steps: list[RolloutStep] | None = None,
    needs_approval: bool | None = None,
    forced_reason: str = "",
) -> Rollout:
    """Bring a version into traffic by steps, or wait for an approval first. The first version is released at once.

    Args:
        deployment: Its name.
        version: Version of the deployment's model.
        reason: Why, in a sentence.
        steps: Other steps than the declared ones; an editor who asks for them needs an approval.
        needs_approval: None follows the declaration; where that asks for a person, only approvers may say False.
        forced_reason: Why the version may go past gates it failed; an editor who asks for that needs an approval.
    """
    found = lock_served(tx, deployment)
    refuse_while_live(tx, deployment)
    if steps is not None:
        check_steps(steps, found.spec.task, set(plugin_names("guards")), "steps")
    champion = _champion(tx, deployment)
    candidate = _fit_to_serve(tx, found, version, champion, forced_reason)
    is_special = bool(forced_reason) or steps is not None
    is_declared = (found.spec.approve.first if champion is None else found.spec.approve.retrain) == "person"
    if is_declared and needs_approval is False:
        require_role(tx, Role.APPROVER, "roll out without an approval")
    is_asked = is_declared if needs_approval is None else needs_approval
    is_asked = is_asked or (is_special and tx.role in (None, Role.VIEWER, Role.EDITOR))
    rollout = Rollout(
        rollout_id=tx.new_id("roll"),
        deployment=deployment,
        model=found.spec.model,
        version=version,
        champion=champion,
        steps=found.spec.rollout if steps is None else steps,
        step=-1,
        state="waiting_approval" if is_asked else "running",
        started_by=tx.actor,
        reason=reason,
        step_started_at=tx.now_us,
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
        forced_reason=forced_reason,
    )
    sql.insert_rollout(tx.connection, tx.project, rollout)
    announce(tx, rollout, RolloutStarted, reason, state=rollout.state, forced_reason=forced_reason)
    if is_asked:
        approvals.ask(tx, tx.ref("rollout", rollout.rollout_id), _question(rollout), candidate.digest)
        return rollout
    return advance(tx, rollout, reason)


def _question(rollout: Rollout) -> str:
    if rollout.champion is None or not rollout.steps:
        way = "at once with all traffic"
    else:
        way = ", then ".join(describe_step(step) for step in rollout.steps)
    forced = f" It failed its gates; forced because: {rollout.forced_reason}." if rollout.forced_reason else ""
    what = f"version {rollout.version} of {rollout.model} on {rollout.deployment}"
    return f"Release {what} ({way})? {rollout.reason}{forced}"


def _champion(tx: Tx, deployment: str) -> int | None:
    newest = sql.find_release(tx.connection, tx.project, deployment)
    return None if newest is None else champion_of(newest).version


def _fit_to_serve(
    tx: Tx, deployment: Deployment, version: int, champion: int | None, forced_reason: str
) -> ModelVersion:
    """Return the version if it may be rolled out.

    Raises:
        NotFound: There is no such version.
        Conflict: It serves already, or its gates did not pass and nobody forces it.
    """
    found = registry.get_version(tx, model=deployment.spec.model, version=version)
    if version == champion:
        raise Conflict(
            f"version {version} is the champion of {deployment.name} already", field="version", value=version
        )
    if forced_reason or not deployment.spec.gates:
        return found
    # A refit is let through by the gates of the version whose recipe it repeats.
    judged = [version] if found.refit_of is None else [version, found.refit_of]
    reports = [made for one in judged for made in registry.gate_reports(tx, model=found.model, version=one, limit=1)]
    report = reports[0] if reports else None
    if report is not None and (report.passed or report.forced_by):
        return found
    failed = [] if report is None else [result.message for result in report.results if result.verdict != "passed"]
    raise Conflict(
        f"version {version} of {found.model} "
        + ("did not pass its gates" if report else "has not been through its gates"),
        field="version",
        value=version,
        rule="; ".join(failed) or "every declared gate passed",
        next_step="train a better one, or force it with a reason; it is still judged in shadow",
    )


@verb("serving.on_approved", changes=Rollout, internal=True)
def on_approved(tx: Tx, *, rollout_id: str, reason: str = "") -> Rollout:
    """Begin a rollout that waited for its approval; one that does not wait stays as it is."""
    rollout = hold(tx, rollout_id)
    return advance(tx, rollout, reason or "approved") if rollout.state == "waiting_approval" else rollout


@verb("serving.on_rejected", changes=Rollout, internal=True)
def on_rejected(tx: Tx, *, rollout_id: str, reason: str) -> Rollout:
    """Abort a rollout that waited for its approval; one that does not wait stays as it is."""
    rollout = hold(tx, rollout_id)
    return stop(tx, rollout, f"rejected: {reason}") if rollout.state == "waiting_approval" else rollout


@verb("serving.pause", changes=Rollout, role=Role.APPROVER)
def pause(tx: Tx, *, rollout_id: str, reason: str) -> Rollout:
    """Hold a rollout at its present step. Guards go on watching and still abort on harm."""
    paused = change(tx, hold(tx, rollout_id), state="paused", paused_at=tx.now_us)
    announce(tx, paused, RolloutPaused, reason)
    return paused


@verb("serving.resume", changes=Rollout, role=Role.APPROVER)
def resume(tx: Tx, *, rollout_id: str, reason: str) -> Rollout:
    """Let a paused rollout go on; the present step's hold grows by the pause."""
    paused = hold(tx, rollout_id)
    pause_us = 0 if paused.paused_at is None else tx.now_us - paused.paused_at
    running = change(tx, paused, state="running", paused_at=None, paused_us=paused.paused_us + pause_us)
    announce(tx, running, RolloutResumed, reason)
    started_at = running.step_started_at + running.paused_us
    plan_look(tx, running, next_look_at(running.steps[running.step], started_at, tx.now_us))
    return running


@verb("serving.abort", changes=Rollout, role=Role.APPROVER)
def abort(tx: Tx, *, rollout_id: str, reason: str) -> Rollout:
    """End a rollout by hand; the candidate leaves at once."""
    if not reason.strip():
        raise InvalidInput("an abort needs a reason", field="reason", rule="at least one word")
    return stop(tx, hold(tx, rollout_id), reason)


@verb("serving.rollback", changes=Release, internal=True)
def rollback(tx: Tx, *, deployment: str, reason: str) -> Release:
    """Return to the last good release at once: without the candidate where a rollout is live, else the champion before.

    A version that was rolled back from is never returned to by a further rollback.
    """
    found = lock_served(tx, deployment)
    live = sql.live_rollout(tx.connection, tx.project, deployment)
    newest = sql.find_release(tx.connection, tx.project, deployment)
    if newest is None:
        raise Conflict(f"{deployment} serves nothing yet", field="deployment", value=deployment)
    candidate = candidate_of(newest)
    before = champion_of(newest).version
    rollout_id = ""
    if live is not None:
        rollout_id = live.rollout_id
        stop(tx, live, f"rolled back: {reason}")
    target = before if candidate is not None else _last_good(tx, deployment)
    made = sql.find_release(tx.connection, tx.project, deployment)
    if made is None or candidate_of(made) is not None or champion_of(made).version != target:
        made = emit_release(tx, found, Shape(target), f"rolled back: {reason}", is_rollback=candidate is None)
    facts = RolledBack(
        deployment=deployment,
        model=found.spec.model,
        version=champion_of(made).version,
        left=before if candidate is None else candidate.version,
        number=made.number,
        rollout_id=rollout_id,
        was_candidate=candidate is not None,
    )
    tx.emit(facts, tx.ref("deployment", deployment), reason=reason)
    return made


def _last_good(tx: Tx, deployment: str) -> int:
    """Return the champion before the present one; champions that were rolled back from do not count."""
    line: list[int] = []
    for champion, is_rollback in sql.champions(tx.connection, tx.project, deployment):
        if is_rollback and champion in line:
            del line[len(line) - line[::-1].index(champion) :]
        elif not line or line[-1] != champion:
            line.append(champion)
    if len(line) < 2:
        raise Conflict(
            f"{deployment} has no earlier champion to return to",
            field="deployment",
            value=deployment,
            next_step="release another version: loopwright deploy",
        )
    return line[-2]


@query("serving.get_rollout")
def get_rollout(tx: Tx, *, rollout_id: str) -> Rollout:
    """Return one rollout with its newest verdicts."""
    return find(tx, rollout_id)


@query("serving.rollouts")
def list_rollouts(tx: Tx, *, deployment: str | None = None, limit: int = 100) -> list[Rollout]:
    """Return rollouts, newest first."""
    return sql.list_rollouts(tx.connection, tx.project, deployment=deployment, limit=min(limit, 1000))


@query("serving.looks")
def list_looks(tx: Tx, *, rollout_id: str) -> list[Look]:
    """Return everything that was found at each look at a rollout, in order."""
    return sql.list_looks(tx.connection, tx.project, rollout_id)
