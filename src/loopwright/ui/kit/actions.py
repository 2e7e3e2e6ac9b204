"""What forms may do: which verb, with which fields, stated with its effect."""

from collections.abc import Callable
from typing import Any

import msgspec

from loopwright import data, loop, monitoring, pipelines, serving
from loopwright.governance import approvals
from loopwright.kernel.verbs import verb_of
from loopwright.store import jobs


class Action(msgspec.Struct, frozen=True):
    """One verb a form may call.

    ``label`` is on the button, ``effect`` says what will happen, ``done`` what has. ``fields`` are taken from the form
    as texts, ``numbers`` as whole numbers. ``reason`` names the field of the reason, which lands in the audit trail.
    """

    verb: Callable[..., Any]
    label: str
    effect: str
    done: str
    fields: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    reason: str = "reason"
    needs_reason: bool = True
    is_danger: bool = False

    @property
    def name(self) -> str:
        """The verb's name, which is part of the form's address."""
        return verb_of(self.verb).name


def _by_verb(*actions: Action) -> dict[str, Action]:
    return {action.name: action for action in actions}


ACTIONS = _by_verb(
    Action(approvals.approve, "Approve", "What waits goes on at once.", "Approved.", ("approval_id",)),
    Action(approvals.reject, "Reject", "What waits ends here.", "Rejected.", ("approval_id",), is_danger=True),
    Action(
        data.release_quarantine,
        "Use anyway",
        "The version becomes ready although a check failed.",
        "Released: the version is ready.",
        ("dataset",),
        ("version",),
        is_danger=True,
    ),
    Action(
        data.restore,
        "Restore",
        "These rows become the newest version again; what came since stays, as older versions.",
        "Restored: a new version has this content.",
        ("dataset",),
        ("version",),
        is_danger=True,
    ),
    Action(
        data.start_diff,
        "Compare",
        "Counts added, removed and changed rows.",
        "The comparison runs; it appears here when it is done.",
        ("dataset",),
        ("before", "after"),
        needs_reason=False,
        reason="",
    ),
    Action(
        jobs.dismiss,
        "Dismiss",
        "What the job was to do is not done; nobody is asked about it any more.",
        "Dismissed.",
        ("job_id",),
        is_danger=True,
    ),
    Action(
        jobs.retry,
        "Do again",
        "The job is queued again with the same arguments.",
        "Queued again.",
        ("job_id",),
        needs_reason=False,
    ),
    Action(
        loop.deploy,
        "Start rollout",
        "The version enters the deployment's rollout, shadow first where one is declared.",
        "The rollout is asked for.",
        ("deployment",),
        ("version",),
    ),
    Action(
        loop.rollback,
        "Roll back",
        "All traffic returns to the last good version at once; the champion alias follows.",
        "Rolled back.",
        ("deployment",),
        is_danger=True,
    ),
    Action(
        serving.retire,
        "Retire",
        "The endpoint ends: requests are refused. History stays; labels of what it answered are still taken.",
        "Retired.",
        ("deployment",),
        is_danger=True,
    ),
    Action(
        loop.start_retrain,
        "Retrain now",
        "The training pipeline starts; gates and rollout decide about its result.",
        "The retrain is under way.",
        ("deployment",),
    ),
    Action(
        monitoring.acknowledge,
        "Acknowledge",
        "The incident stays open; you are its owner.",
        "Acknowledged: you own it.",
        ("incident_id",),
    ),
    Action(
        monitoring.resolve,
        "Resolve",
        "The incident closes. A further alert opens a new one.",
        "Resolved.",
        ("incident_id",),
    ),
    Action(
        pipelines.retry,
        "Retry",
        "Finished steps keep their outputs; the failed one runs again.",
        "Runs again.",
        ("execution_id",),
    ),
    Action(
        serving.abort,
        "Abort rollout",
        "The candidate leaves at once; the champion answers everything.",
        "The rollout is aborted.",
        ("rollout_id",),
        is_danger=True,
    ),
    Action(
        serving.pause,
        "Pause",
        "The rollout stays at its present step; guards keep watching.",
        "Paused.",
        ("rollout_id",),
    ),
    Action(serving.resume, "Resume", "The rollout goes on from its present step.", "It goes on.", ("rollout_id",)),
)
"""Every verb the pages offer, by name."""
