"""Events as CloudEvents."""

from loopwright.kernel.events import Event, to_cloudevent


def test_an_event_becomes_a_cloudevent() -> None:
    event = Event(
        event_id=3,
        project="flights",
        type="registry.alias_set",
        ref="flights/model:late/17",
        actor="person:ana",
        event_at=1,
        recorded_at=86_400_000_000,
        reason="better",
        payload={"alias": "champion"},
        position=9,
    )
    assert to_cloudevent(event) == {
        "specversion": "1.0",
        "id": "9",
        "source": "/projects/flights",
        "type": "loopwright.registry.alias_set",
        "subject": "flights/model:late/17",
        "time": "1970-01-02T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {"alias": "champion", "actor": "person:ana", "reason": "better", "event_at": 1},
    }
