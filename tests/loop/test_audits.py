"""Audits that are due: when they start, how far they reach, and the incident that differences are."""

from typing import Any

import msgspec
import pytest

from loopwright.governance import Actor
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.loop.types import AuditDue, Skews
from loopwright.monitoring import MonitorSpec
from loopwright.monitoring.strictness import loosened
from loopwright.store.work import kind_of
from tests.loop.conftest import PROJECT, Loop, end_job

AUDITED = {"late": msgspec.structs.replace(PROJECT.monitors["late"], audit_us=2 * DAY_US)}
FEATURE = {"column": "recent_late_3h", "unequal": 4, "cause": "late", "explained": 1.0, "by_us": 60_000_000}


def due(loop: Loop) -> list[Any]:
    """Return the audits that were started, oldest first."""
    kind = kind_of(AuditDue).name
    return sorted((job.args["start_at"], job.args["end_at"]) for job in loop("jobs.list") if job.kind == kind)


def finish(loop: Loop, start_at: int, until: int, unequal: int) -> None:
    found = {"rows": 100, "unequal_rows": unequal, "features": [FEATURE] if unequal else [], "told": "it came late"}
    loop.service("loop.finish_skew_audit", deployment="late", start_at=start_at, until=until, found=found)


def test_an_audit_starts_with_the_window_that_ends_its_stretch_and_where_the_last_one_ended(serving: Loop) -> None:
    serving.window()
    assert due(serving) == []
    serving.apply(monitors=AUDITED)
    for _ in range(4):
        serving.window()
    first, second = due(serving)
    assert [end - start for start, end in (first, second)] == [2 * DAY_US, 2 * DAY_US]
    assert all(end % (2 * DAY_US) == 0 for _, end in (first, second))
    finish(serving, *second, unequal=0)
    # What the datasets did not hold yet is audited the next time.
    finish(serving, second[1], second[1] + DAY_US // 2, unequal=0)
    for _ in range(2):
        serving.window()
    assert due(serving)[-1] == (second[1] + DAY_US // 2, second[1] + 2 * DAY_US)


def test_differences_are_an_incident_until_an_audit_finds_none(serving: Loop) -> None:
    serving.apply(monitors=AUDITED)
    finish(serving, 0, DAY_US, unequal=4)
    (incident,) = serving("monitoring.incidents", kind="skew")
    assert incident.title == "4 of 100 served rows are not what the datasets say: it came late"
    assert incident.needs_person
    finish(serving, 0, DAY_US, unequal=4)  # a job that is done again tells nothing anew
    assert serving("monitoring.incidents", kind="skew")[0].alerts == 1
    finish(serving, DAY_US, 2 * DAY_US, unequal=0)
    assert serving("monitoring.incidents", kind="skew")[0].state == "resolved"


def skews(loop: Loop) -> Skews:
    found: Skews = loop.service("loop.find_skews", model="late")
    return found


def test_gates_look_at_what_audits_told_and_not_at_who_closed_the_incident(serving: Loop) -> None:
    serving.apply(monitors=AUDITED)
    assert skews(serving) == Skews(False, [], [])
    finish(serving, 0, DAY_US, unequal=4)
    (incident,) = serving("monitoring.incidents", kind="skew")
    serving("monitoring.resolve", incident_id=incident.incident_id, reason="fine")
    told = Skews(True, ["late: 4 of 100 rows differ, in recent_late_3h"], [])
    assert skews(serving) == told
    nothing = {"rows": 0, "unequal_rows": 0, "features": [], "told": ""}  # says nothing of what was found before
    serving.service("loop.finish_skew_audit", deployment="late", start_at=DAY_US, until=DAY_US + 1, found=nothing)
    assert skews(serving) == told
    finish(serving, DAY_US, 2 * DAY_US, unequal=0)
    assert skews(serving) == Skews(True, [], [])


def test_an_audit_that_was_due_is_an_approvers_to_cancel_and_is_missed(serving: Loop) -> None:
    serving.apply(monitors=AUDITED)
    for _ in range(2):
        serving.window()
    kind = kind_of(AuditDue).name
    (job,) = [job for job in serving("jobs.list") if job.kind == kind]
    editor = Actor("person:ed", {"flights": Role.EDITOR})
    with pytest.raises(PermissionDenied, match=r"loop\.audit_due"):
        serving.dispatcher.call("jobs.cancel", {"job_id": job.job_id}, actor=editor, project="flights")
    assert skews(serving).unaudited == [], "it may take its time"
    for _ in range(2):
        serving.window()
    assert skews(serving).unaudited == ["late"], "until the next one is due"
    serving("jobs.cancel", job_id=job.job_id)
    assert skews(serving).unaudited == ["late"]
    newest = next(job for job in serving("jobs.list") if job.kind == kind and job.state == "queued")
    end_job(serving, newest)
    assert skews(serving).unaudited == []


def test_auditing_less_often_loosens_a_monitor() -> None:
    daily, never = MonitorSpec(DAY_US, audit_us=DAY_US), MonitorSpec(DAY_US)
    assert [one.field for one in loosened(daily, never, None, None)] == ["audit"]
    assert loosened(never, daily, None, None) == []
