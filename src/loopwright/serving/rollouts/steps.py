"""Verbs of rollout steps: begin, look, go on, stop. Timers call for looks, jobs judge, ``finish_step`` decides."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from loopwright.governance import approvals
from loopwright.kernel.clock import MINUTE_US
from loopwright.kernel.errors import NotFound
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import SERVER_ALONE, verb
from loopwright.serving import sql
from loopwright.serving.deployments import lock_served
from loopwright.serving.events import (
    RolledBack,
    RolloutAborted,
    RolloutFacts,
    RolloutFinished,
    RolloutStepJudged,
    RolloutStepStarted,
)
from loopwright.serving.releases import Shape, emit_release
from loopwright.serving.rollouts.planning import (
    decide,
    describe_step,
    explain,
    held_us,
    look_every_us,
    most_us,
    next_look_at,
)
from loopwright.serving.types import (
    ROLLOUT_STATES,
    Deployment,
    JudgeLook,
    Look,
    Rollout,
    ShadowStep,
    StepVerdict,
    candidate_of,
)
from loopwright.store.timers import plans_next
from loopwright.store.tx import Tx

P = ParamSpec("P")

FRESH_US = 15 * MINUTE_US
"""How long after a rollout's last release was made it is undone where nobody can load that; wall time."""


def find(tx: Tx, rollout_id: str) -> Rollout:
    """Return one rollout.

    Raises:
        NotFound: There is none.
    """
    rollout = sql.find_rollout(tx, rollout_id)
    if rollout is None:
        raise NotFound(
            "no such rollout",
            field="rollout_id",
            value=rollout_id,
            next_step="loopwright call serving.rollouts",
        )
    return rollout


def hold(tx: Tx, rollout_id: str) -> Rollout:
    """Return one rollout, and keep other writers of its deployment waiting until this transaction ends.

    Raises:
        NotFound: There is none.
    """
    lock_served(tx, find(tx, rollout_id).deployment)
    return find(tx, rollout_id)  # again: who held the lock before may have ended it


def change(tx: Tx, rollout: Rollout, **values: object) -> Rollout:
    """Change a rollout; a new state must be legal."""
    if "state" in values:
        check_change("rollout", ROLLOUT_STATES, rollout.state, str(values["state"]))
    sql.update_rollout(tx, rollout, **values)
    return find(tx, rollout.rollout_id)


def announce(
    tx: Tx,
    rollout: Rollout,
    kind: Callable[Concatenate[str, str, int, int | None, str, int, P], RolloutFacts],
    reason: str,
    *more: P.args,
    **facts: P.kwargs,
) -> None:
    """Emit an event of a rollout on its deployment's ref: what every such event tells, and ``facts`` of its kind."""
    own = (rollout.deployment, rollout.model, rollout.version, rollout.champion, rollout.rollout_id, rollout.step)
    tx.emit(kind(*own, *more, **facts), tx.ref("deployment", rollout.deployment), reason=reason)


def begin_next_step(tx: Tx, rollout: Rollout, reason: str) -> Rollout:
    """Begin the next step, or finish: the candidate becomes champion and the old one leaves."""
    following = rollout.step + 1
    if rollout.champion is None or following >= len(rollout.steps):
        return _finish(tx, rollout, reason)
    step = rollout.steps[following]
    is_shadow = isinstance(step, ShadowStep)
    weight = 0.0 if isinstance(step, ShadowStep) else step.weight
    words = f"step {following + 1} of {len(rollout.steps)} of version {rollout.version}: {describe_step(step)}"
    made = emit_release(
        tx,
        lock_served(tx, rollout.deployment),
        Shape(rollout.champion, rollout.version, weight, is_shadow),
        words,
        rollout_id=rollout.rollout_id,
    )
    started = rollout if rollout.state == "running" else change(tx, rollout, state="running")
    begun = change(
        tx,
        started,
        step=following,
        step_started_at=tx.now_us,
        release=made.number,
        looks=0,
        paused_us=0,
    )
    announce(tx, begun, RolloutStepStarted, reason, number=made.number, step_words=words)
    plan_look(tx, begun, next_look_at(step, tx.now_us, tx.now_us))
    return begun


def plan_look(tx: Tx, rollout: Rollout, due_at: int, *, is_overdue: bool = False) -> None:
    """Plan the next look at the present step; a rollout has one planned look at a time."""
    key = _timer_key(rollout)
    tx.later(due_at, key, judge_step, rollout_id=rollout.rollout_id, step=rollout.step, is_overdue=is_overdue)


def _timer_key(rollout: Rollout) -> str:
    return f"rollout:{rollout.rollout_id}"


@verb("serving.judge_step", changes=Rollout, internal=True, parts=SERVER_ALONE)
def judge_step(tx: Tx, *, rollout_id: str, step: int, is_overdue: bool = False) -> Rollout:
    """Start the job that judges the present step and plan the next look; does nothing for a step that is over.

    ``is_overdue`` marks the look after the last one: its judging never ended, and without a verdict nothing passes.
    """
    rollout = hold(tx, rollout_id)
    if rollout.step != step or rollout.state not in ("running", "paused"):
        return rollout
    if is_overdue and rollout.state == "running":
        return stop(tx, rollout, "no look at this step could be finished in time, and undecided is never a pass")
    now = tx.now_us
    spec = JudgeLook(
        rollout_id=rollout_id,
        deployment=rollout.deployment,
        version=rollout.version,
        task=lock_served(tx, rollout.deployment).spec.task,
        step=rollout.steps[step],
        index=step,
        look=rollout.looks + 1,
        release=rollout.release,
        start_at=rollout.step_started_at,
        end_at=now,
    )
    ref = tx.ref("deployment", rollout.deployment)
    tx.start_job(spec, ref, job_id=f"judge-{rollout_id}-{step}-{spec.look}")
    looked = change(tx, rollout, looks=spec.look)
    plan_next_look(tx, rollout_id=rollout_id, step=step)
    return looked


@plans_next(judge_step)
def plan_next_look(tx: Tx, *, rollout_id: str, step: int, is_overdue: bool = False) -> None:
    """Plan the look after this one, unless the step is over; behind the longest time it takes, the last one."""
    rollout = find(tx, rollout_id)
    if rollout.step != step or rollout.state not in ("running", "paused"):
        return
    judged, now = rollout.steps[step], tx.now_us
    if is_overdue or held_us(rollout, now) >= most_us(judged):
        plan_look(tx, rollout, now + look_every_us(judged), is_overdue=True)
    else:
        plan_look(tx, rollout, next_look_at(judged, rollout.step_started_at + rollout.paused_us, now))


@verb("serving.finish_step", changes=Rollout, internal=True)
def finish_step(tx: Tx, *, rollout_id: str, step: int, look: int, verdicts: list[StepVerdict]) -> Rollout:
    """Keep what a look found and do what follows: wait, go on to the next step, finish, or abort.

    The same look again changes nothing, nor does a look at a step that is over.
    """
    rollout = hold(tx, rollout_id)
    # The moment of the look, not of its verdict: a job that took long must not count as a longer hold.
    at_us = max((verdict.at_us for verdict in verdicts), default=0) or tx.now_us
    is_new = sql.insert_look(tx, Look(rollout_id, step, look, verdicts, at_us))
    if not is_new or rollout.step != step or rollout.state not in ("running", "paused"):
        return rollout
    decision = decide(rollout, verdicts, at_us)
    fresh = {verdict.metric for verdict in verdicts}
    older = [kept for kept in rollout.verdicts if kept.step != step or kept.metric not in fresh]
    judged = change(tx, rollout, verdicts=[*older, *verdicts])
    found = "; ".join(verdict.message for verdict in verdicts)
    announce(tx, judged, RolloutStepJudged, found, look=look, decision=decision, verdicts=verdicts)
    if decision == "go":
        return begin_next_step(tx, judged, found)
    return stop(tx, judged, explain(judged, verdicts)) if decision == "abort" else judged


def _finish(tx: Tx, rollout: Rollout, reason: str) -> Rollout:
    words = f"version {rollout.version} takes all traffic: {reason}"
    deployment = lock_served(tx, rollout.deployment)
    made = emit_release(tx, deployment, Shape(rollout.version), words, rollout_id=rollout.rollout_id)
    tx.cancel_later(_timer_key(rollout))
    done = change(tx, rollout, state="done", finished_at=tx.now_us, release=made.number)
    announce(tx, done, RolloutFinished, reason, number=made.number)
    return done


def stop(tx: Tx, rollout: Rollout, reason: str) -> Rollout:
    """Abort a live rollout: the candidate leaves at once, its timers and open approvals with it."""
    deployment = lock_served(tx, rollout.deployment)
    aborted = change(tx, rollout, state="aborted", finished_at=tx.now_us)
    tx.cancel_later(_timer_key(rollout))
    if rollout.state == "waiting_approval":
        approvals.withdraw(tx, tx.ref("rollout", rollout.rollout_id), reason)
    newest = sql.find_release(tx, rollout.deployment)
    if newest is not None and candidate_of(newest) is not None and rollout.champion is not None:
        words = f"version {rollout.version} leaves: {reason}"
        emit_release(tx, deployment, Shape(rollout.champion), words, rollout_id=rollout.rollout_id)
    verdicts = [verdict for verdict in aborted.verdicts if verdict.step == rollout.step]
    announce(tx, aborted, RolloutAborted, reason, verdicts=verdicts, is_forced=bool(rollout.forced_reason))
    return aborted


def give_up(tx: Tx, deployment: str, number: int, why: str) -> None:
    """End the rollout whose newest release no live gateway could load, also one that counted as done just now.

    Nothing of it is served, so the champion before is released again; where there was none, the version may be followed
    by another as if it had never been. What was loaded once and later is not (a bucket that is away while gateways
    restart) is no fault of the version: it stays the champion, and a person is told of the failure.
    """
    found = lock_served(tx, deployment)
    newest = sql.find_release(tx, deployment)
    if newest is None or newest.number != number or not newest.rollout_id:
        return
    rollout = find(tx, newest.rollout_id)
    reason = f"no live gateway can load release {number}: {why}"
    if rollout.is_live:
        stop(tx, rollout, reason)
    elif rollout.state == "done" and rollout.release == number and tx.wall_us - newest.recorded_at < FRESH_US:
        undone = change(tx, rollout, state="aborted", finished_at=tx.now_us)
        announce(tx, undone, RolloutAborted, reason, verdicts=[], is_forced=bool(rollout.forced_reason))
        _return_to_champion(tx, found, undone, reason)


def _return_to_champion(tx: Tx, deployment: Deployment, rollout: Rollout, reason: str) -> None:
    if rollout.champion is None:
        return
    words = f"version {rollout.version} leaves: {reason}"
    rollout_id = rollout.rollout_id
    made = emit_release(tx, deployment, Shape(rollout.champion), words, rollout_id=rollout_id, is_rollback=True)
    facts = RolledBack(
        deployment=rollout.deployment,
        model=rollout.model,
        version=rollout.champion,
        left=rollout.version,
        number=made.number,
        rollout_id=rollout_id,
        was_candidate=False,
    )
    tx.emit(facts, tx.ref("deployment", rollout.deployment), reason=reason)
