"""Verbs of whole rollouts: start, answer an approval, pause, resume, abort, roll back."""

from loopwright import registry
from loopwright.governance import LOCAL_ACTOR, approvals, has_role, require_role
from loopwright.kernel.documents import digest_of
from loopwright.kernel.errors import Conflict, InvalidInput, PermissionDenied
from loopwright.kernel.plugins import plugin_names
from loopwright.kernel.verbs import SERVER_ALONE, Role, query, verb
from loopwright.registry import ModelVersion
from loopwright.serving import sql
from loopwright.serving.deployments import lock_served
from loopwright.serving.events import RolledBack, RolloutPaused, RolloutResumed, RolloutStarted
from loopwright.serving.releases import Shape, emit_release, refuse_while_live
from loopwright.serving.rollouts.bonds import judged_by, people_behind
from loopwright.serving.rollouts.measures import doubts_about
from loopwright.serving.rollouts.planning import check_steps, describe_step, next_look_at
from loopwright.serving.rollouts.steps import announce, begin_next_step, change, find, hold, plan_look, stop
from loopwright.serving.strictness import describe_gate, missing_gates
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
        needs_approval: None follows the declaration; where that asks for a person, only approvers who had no hand in
            the version may say False.
        forced_reason: Why the version may go past gates it failed; that waits for the approval of another, or of any
            approver where the declaration allows their own.

    What passed its gates on labels that are not the champion's, or before there is one on those of no training of the
    model, or on a stretch of rows that somebody chose, waits for an approver.

    Raises:
        Conflict: It serves already, or a declared gate did not pass and nobody forces it.
        PermissionDenied: The caller would decide about what they had a hand in.
    """
    found = lock_served(tx, deployment)
    refuse_while_live(tx, deployment)
    if steps is not None:
        check_steps(steps, found.spec.task, set(plugin_names("guards")), "steps")
    champion = _champion(tx, deployment)
    candidate = _fit_to_serve(tx, found, version, champion, forced_reason)
    involved = people_behind(tx, candidate)
    is_asked = _is_asked(tx, found, candidate, champion, needs_approval, involved)
    is_asked = is_asked or (steps is not None and not has_role(tx, Role.APPROVER))
    is_asked = is_asked or (bool(forced_reason) and not _may_decide_alone(tx, found))
    doubts = doubts_about(tx, candidate) if found.spec.gates and not forced_reason else []
    is_asked = is_asked or (bool(doubts) and not _is_approver(tx))
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
    sql.insert_rollout(tx, rollout)
    announce(tx, rollout, RolloutStarted, reason, state=rollout.state, forced_reason=forced_reason)
    if is_asked:
        excluded = [] if found.spec.approve.allows_own else involved | {tx.actor}
        digest = _approved_digest(tx, found, candidate, rollout)
        ref = tx.ref("rollout", rollout.rollout_id)
        approvals.ask(tx, ref, _question(rollout, doubts), digest, excluded=excluded)
        return rollout
    return begin_next_step(tx, rollout, reason)


def _is_asked(
    tx: Tx,
    deployment: Deployment,
    candidate: ModelVersion,
    champion: int | None,
    needs_approval: bool | None,
    involved: set[str],
) -> bool:
    """Say whether a person is asked: as declared, unless an approver with no hand in it decides by starting it."""
    approve = deployment.spec.approve
    is_declared = (approve.first if champion is None else approve.retrain) == "person"
    if is_declared and needs_approval is False:
        require_role(tx, Role.APPROVER, "roll out without an approval")
        if tx.actor in involved and not _may_decide_alone(tx, deployment):
            raise PermissionDenied(
                f"{tx.actor} had a hand in version {candidate.version}",
                field="needs_approval",
                value=False,
                rule="nobody decides alone about what they trained, registered or forced",
                next_step="leave needs_approval out and let another approver decide",
            )
    report = judged_by(tx, candidate)
    is_own_force = report is not None and report.forced_by == tx.actor and not _may_decide_alone(tx, deployment)
    return is_own_force or (is_declared if needs_approval is None else needs_approval)


def _may_decide_alone(tx: Tx, deployment: Deployment) -> bool:
    """Say whether one actor may do what else takes two: the platform, an open server's person, a team of one.

    Such a team is an approver: whoever may not approve decides nothing by having had a hand in it.
    """
    is_team = deployment.spec.approve.allows_own and has_role(tx, Role.APPROVER)
    return tx.role is Role.SERVICE or tx.actor == LOCAL_ACTOR.name or is_team


def _is_approver(tx: Tx) -> bool:
    """Say whether a person decides by acting: a policy has every role and looks at nothing."""
    is_person = tx.role is not Role.SERVICE or tx.actor == LOCAL_ACTOR.name
    return is_person and has_role(tx, Role.APPROVER)


def _approved_digest(tx: Tx, deployment: Deployment, candidate: ModelVersion, rollout: Rollout) -> str:
    """Return the name of all that an approval is about: the version, its report, the steps, the declaration."""
    report = judged_by(tx, candidate)
    facts = [candidate.digest, "" if report is None else report.report_id, rollout.steps, deployment.spec]
    return digest_of([*facts, rollout.forced_reason])


def _question(rollout: Rollout, doubts: list[str]) -> str:
    if rollout.champion is None or not rollout.steps:
        way = "at once with all traffic"
    else:
        way = ", then ".join(describe_step(step) for step in rollout.steps)
    forced = f" It failed its gates; forced because: {rollout.forced_reason}." if rollout.forced_reason else ""
    what = f"version {rollout.version} of {rollout.model} on {rollout.deployment}"
    return " ".join([f"Release {what} ({way})? {rollout.reason}{forced}", *doubts])


def _champion(tx: Tx, deployment: str) -> int | None:
    """Return the version that serves; None where nothing does, also where no gateway could load the first one."""
    newest = sql.find_release(tx, deployment)
    if newest is None:
        return None
    made_by = find(tx, newest.rollout_id) if newest.rollout_id else None
    is_given_up = made_by is not None and made_by.state == "aborted" and made_by.champion is None
    return None if is_given_up else champion_of(newest).version


def _fit_to_serve(
    tx: Tx, deployment: Deployment, version: int, champion: int | None, forced_reason: str
) -> ModelVersion:
    """Return the version if it may be rolled out.

    Raises:
        NotFound: There is no such version.
        Conflict: It serves already, or its gates did not pass and nobody forces it.
    """
    model_version = registry.get_version(tx, model=deployment.spec.model, version=version)
    if version == champion:
        raise Conflict(
            f"version {version} is the champion of {deployment.name} already", field="version", value=version
        )
    report = judged_by(tx, model_version)
    if forced_reason or (report is not None and report.forced_by):
        return model_version
    results = [] if report is None else report.results
    # What counts are the gates of today's declaration, not those that happened to run.
    passed = [result.gate for result in results if result.verdict == "passed"]
    unproven = missing_gates(passed, deployment.spec.gates)
    if not unproven:
        return model_version
    failed = [result.message for result in results if result.verdict != "passed"]
    never = missing_gates([result.gate for result in results], unproven)
    failed += [f"{describe_gate(gate)} was never judged" for gate in never if results]
    raise Conflict(
        f"version {version} of {model_version.model} "
        + ("did not pass its gates" if results else "has not been through its gates"),
        field="version",
        value=version,
        rule="; ".join(failed) or "every declared gate passed",
        next_step=f"loopwright evaluate {model_version.model}, or train a better one; "
        "an approver may force it with a reason",
    )


@verb("serving.on_approved", changes=Rollout, internal=True, parts=SERVER_ALONE)
def on_approved(tx: Tx, *, rollout_id: str, reason: str = "") -> Rollout:
    """Begin a rollout that waited for its approval; one that does not wait stays as it is.

    What was approved is looked at again: where the version's report or the declaration changed meanwhile, it ends.
    """
    rollout = hold(tx, rollout_id)
    if rollout.state != "waiting_approval":
        return rollout
    deployment = lock_served(tx, rollout.deployment)
    candidate = registry.get_version(tx, model=rollout.model, version=rollout.version)
    approved = approvals.list_approvals(tx, state="approved", subject=tx.ref("rollout", rollout_id))
    # Approvals that were asked for by older versions of the platform name the model version alone.
    known = (_approved_digest(tx, deployment, candidate, rollout), candidate.digest)
    if not any(approval.digest in known for approval in approved):
        return stop(tx, rollout, "what was approved has changed since: its gates or its declaration; deploy it again")
    return begin_next_step(tx, rollout, reason or "approved")


@verb("serving.on_rejected", changes=Rollout, internal=True, parts=SERVER_ALONE)
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


@verb("serving.rollback", changes=Release, internal=True, parts=SERVER_ALONE)
def rollback(tx: Tx, *, deployment: str, reason: str) -> Release:
    """Return to the last good release at once: without the candidate where a rollout is live, else the champion before.

    A version that was rolled back from is never returned to by a further rollback.
    """
    found = lock_served(tx, deployment)
    live = sql.live_rollout(tx, deployment)
    newest = sql.find_release(tx, deployment)
    if newest is None:
        raise Conflict(f"{deployment} serves nothing yet", field="deployment", value=deployment)
    candidate = candidate_of(newest)
    before = champion_of(newest).version
    rollout_id = ""
    if live is not None:
        rollout_id = live.rollout_id
        stop(tx, live, f"rolled back: {reason}")
    target = before if candidate is not None else last_good(tx, deployment)
    made = sql.find_release(tx, deployment)
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


def last_good(tx: Tx, deployment: str) -> int:
    """Return the champion before the present one; champions that were rolled back from do not count."""
    line: list[int] = []
    for champion, is_rollback in sql.champions(tx, deployment):
        if is_rollback and champion in line:
            del line[len(line) - line[::-1].index(champion) :]
        elif not line or line[-1] != champion:
            line.append(champion)
    if len(line) < 2:
        raise Conflict(
            f"{deployment} has no earlier champion to return to",
            field="deployment",
            value=deployment,
            next_step=f"release another version: loopwright deploy {deployment} --version N",
        )
    return line[-2]


@query("serving.get_rollout")
def get_rollout(tx: Tx, *, rollout_id: str) -> Rollout:
    """Return one rollout with its newest verdicts."""
    return find(tx, rollout_id)


@query("serving.rollouts")
def list_rollouts(tx: Tx, *, deployment: str | None = None, limit: int = 100) -> list[Rollout]:
    """Return rollouts, newest first."""
    return sql.list_rollouts(tx, deployment=deployment, limit=min(limit, 1000))


@query("serving.looks")
def list_looks(tx: Tx, *, rollout_id: str) -> list[Look]:
    """Return everything that was found at each look at a rollout, in order."""
    return sql.list_looks(tx, rollout_id)
