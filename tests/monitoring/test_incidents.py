"""Incidents: grouping, cool-down, people."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.monitoring import acknowledge, assign, get_incident, list_alerts, list_incidents, raise_alert, resolve
from loopwright.monitoring.types import Alert
from loopwright.store.tx import Tx
from tests.store.interleaving import interruptions

DAY = 86_400_000_000
SUBJECT = "flights/deployment:late"


def fire(tx: Tx, day: float = 0, **options: Any) -> Alert:
    args = {"subject": SUBJECT, "kind": "drift", "message": "3 features drift", "needs_person": False, **options}
    return raise_alert(tx, at=int(day * DAY), **args)


def test_alerts_of_one_subject_and_kind_gather(tx: Tx) -> None:
    first, second = fire(tx, 1), fire(tx, 2)
    other, elsewhere = fire(tx, 2, kind="missing"), fire(tx, 2, subject="flights/deployment:other")
    assert first.incident_id == second.incident_id
    assert len({first.incident_id, other.incident_id, elsewhere.incident_id}) == 3
    incident = get_incident(tx, incident_id=first.incident_id)
    assert (incident.alerts, incident.opened_at, incident.last_at) == (2, DAY, 2 * DAY)
    assert not incident.needs_person
    assert [alert.alert_id for alert in list_alerts(tx, incident_id=incident.incident_id)] == [
        second.alert_id,
        first.alert_id,
    ]


def test_the_same_key_is_once(tx: Tx) -> None:
    assert fire(tx, key="late/0/drift") == fire(tx, key="late/0/drift")
    assert list_incidents(tx)[0].alerts == 1


def test_two_alerts_at_once_open_one_incident(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    def raise_one(number: int, message: str) -> Any:
        args = {"subject": f"flights/deployment:d{number}", "kind": "drift", "message": message}
        return dispatcher.call("monitoring.raise_alert", args, actor=SERVICE_ACTOR, project="flights")

    for number, played in enumerate(
        interruptions(
            dispatcher.database,
            lambda number: raise_one(number, "2 features drift"),
            lambda number: raise_one(number, "3 features drift"),
        )
    ):
        first, second = played.both()
        assert first.incident_id == second.incident_id
        (incident,) = call("monitoring.incidents", subject=f"flights/deployment:d{number}")
        assert incident.alerts == 2


def test_an_incident_escalates_and_never_back(tx: Tx) -> None:
    alert = fire(tx, 1)
    fire(tx, 2, needs_person=True, severity="critical")
    fire(tx, 3)
    incident = get_incident(tx, incident_id=alert.incident_id)
    assert (incident.needs_person, incident.severity) == (True, "critical")


def test_after_its_end_warnings_join_quietly_for_a_week(tx: Tx) -> None:
    first = fire(tx, 1)
    resolve(tx, incident_id=first.incident_id, reason="retrained", at=2 * DAY)
    assert fire(tx, 8.9).incident_id == first.incident_id
    assert get_incident(tx, incident_id=first.incident_id).state == "resolved"
    assert fire(tx, 9).incident_id != first.incident_id


def test_what_calls_for_a_person_within_that_week_opens_it_again(
    dispatcher: Dispatcher, call: Callable[..., Any]
) -> None:
    args = {"subject": SUBJECT, "kind": "missing", "message": "values are missing: temp (40%)"}

    def fired() -> Any:
        dispatcher.call("monitoring.raise_alert", args, actor=SERVICE_ACTOR, project="flights")
        [incident] = call("monitoring.incidents")
        return incident

    call("monitoring.acknowledge", incident_id=fired().incident_id)
    call("monitoring.resolve", incident_id=fired().incident_id, reason="the sensor was replaced")
    again = fired()
    assert (again.state, again.alerts, again.resolved_at, again.resolution) == ("open", 3, None, "")
    assert again.owner
    fired()
    told = [event.type for event in call("audit.list") if event.type.startswith("monitoring.incident")]
    assert told.count("monitoring.incident_reopened") == 1


def test_an_incident_that_opens_again_is_titled_by_what_opened_it(tx: Tx) -> None:
    first = fire(tx, 1, kind="job", message="the file cannot be read", needs_person=True)
    fire(tx, 1, kind="job", message="a column is missing", needs_person=True)
    assert get_incident(tx, incident_id=first.incident_id).title == "the file cannot be read"
    resolve(tx, incident_id=first.incident_id, reason="tried again", at=2 * DAY)
    fire(tx, 2, kind="job", message="a column is missing", needs_person=True)
    assert get_incident(tx, incident_id=first.incident_id).title == "a column is missing"


def test_a_critical_alert_does_not_cool_down(tx: Tx) -> None:
    first = fire(tx, 1, severity="critical")
    resolve(tx, incident_id=first.incident_id, reason="restarted", at=2 * DAY)
    assert fire(tx, 3, severity="critical").incident_id != first.incident_id


def test_a_person_takes_assigns_and_ends_it(tx: Tx) -> None:
    incident_id = fire(tx).incident_id
    assert acknowledge(tx, incident_id=incident_id).owner == tx.actor
    assert assign(tx, incident_id=incident_id, owner="person:ana").owner == "person:ana"
    done = resolve(tx, incident_id=incident_id, reason="the sensor was replaced")
    assert (done.state, done.resolution, done.resolved_at) == ("resolved", "the sensor was replaced", tx.now_us)
    with pytest.raises(Conflict, match="resolved cannot become acknowledged"):
        acknowledge(tx, incident_id=incident_id)
    with pytest.raises(InvalidInput, match="cannot be assigned"):
        assign(tx, incident_id=incident_id, owner="person:bo")


def test_an_end_needs_a_reason_and_an_incident(tx: Tx) -> None:
    with pytest.raises(InvalidInput, match="needs a reason"):
        resolve(tx, incident_id=fire(tx).incident_id, reason=" ")
    with pytest.raises(NotFound):
        resolve(tx, incident_id="inc_none", reason="x")


def test_incidents_are_found_by_what_they_are(tx: Tx) -> None:
    fire(tx, 1)
    fire(tx, 5, kind="missing", needs_person=True)
    assert [one.kind for one in list_incidents(tx, needs_person=True)] == ["missing"]
    assert [one.kind for one in list_incidents(tx, start_at=0, end_at=2 * DAY)] == ["drift"]
    assert [one.kind for one in list_incidents(tx, states=["open"], subject=SUBJECT)] == ["missing", "drift"]
    assert list_incidents(tx, states=["resolved"]) == []


def test_every_change_is_an_event(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    args = {"subject": SUBJECT, "kind": "data", "message": "12 rows failed a check", "facts": {"rows": 12}}
    alert = dispatcher.call("monitoring.raise_alert", args, actor=SERVICE_ACTOR, project="flights")
    call("monitoring.acknowledge", incident_id=alert.incident_id)
    call("monitoring.resolve", incident_id=alert.incident_id, reason="fixed")
    events = [event for event in call("audit.list") if event.type.startswith("monitoring.")]
    assert [event.type.removeprefix("monitoring.") for event in events[::-1]] == [
        "alert_fired",
        "incident_opened",
        "incident_acknowledged",
        "incident_resolved",
    ]
    assert events[-1].payload["facts"] == {"rows": 12}
    assert {event.payload["incident_id"] for event in events} == {alert.incident_id}
