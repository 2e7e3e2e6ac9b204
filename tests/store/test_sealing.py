"""The log of events: gapless positions, one chain, and every kind of tampering found."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from loopwright.governance import LOCAL_ACTOR, Dispatcher, audit
from loopwright.kernel.errors import Corrupt
from loopwright.kernel.events import Event
from loopwright.store import sql
from loopwright.store.sealing import chain_hash, seal_events
from loopwright.store.types import Unrest


def write_events(dispatcher: Dispatcher, count: int, name: str = "x") -> None:
    """Write events one after the other; they are sealed once this returns."""
    for number in range(count):
        dispatcher.write(
            "flights", LOCAL_ACTOR, lambda tx, at=number: tx.emit("things.made", f"flights/thing:{name}{at}")
        )
    dispatcher.database.seal()


def change(dispatcher: Dispatcher, statement: str) -> None:
    with dispatcher.database.engine.connect() as connection:
        connection.execute(text(statement))
        connection.commit()


def test_positions_are_gapless_under_four_threads(dispatcher: Dispatcher) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: write_events(dispatcher, 12, name), "abcd"))
    with dispatcher.database.reading() as connection:
        events = sql.events_after(connection, 0, limit=1000)
        assert [event.position for event in events] == list(range(1, 50))
        assert sql.read_unrest(connection, "flights") == Unrest(49, False, False)
        assert seal_events(connection) == 0
    assert dispatcher.database.read(audit.verify_chain) == 49


def test_events_of_one_thread_keep_their_order(dispatcher: Dispatcher) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: write_events(dispatcher, 8, name), "abcd"))
    with dispatcher.database.reading() as connection:
        refs = [event.ref for event in sql.events_after(connection, 1, limit=1000)]
    for name in "abcd":
        assert [ref for ref in refs if f":{name}" in ref] == [f"flights/thing:{name}{number}" for number in range(8)]


@pytest.mark.parametrize(
    ("statement", "message", "position"),
    [
        ("UPDATE events SET actor = 'person:eve' WHERE position = 4", "was changed", "4"),
        ("UPDATE events SET payload = '[]' WHERE position = 4", "was changed", "4"),
        ("UPDATE events SET project_id = 'other' WHERE position = 4", "was changed", "4"),
        ("UPDATE events SET event_at = event_at + 1 WHERE position = 4", "was changed", "4"),
        ("DELETE FROM events WHERE position = 4", "is missing", "4"),
        ("UPDATE events SET position = -position WHERE position IN (3, 4)", "is missing", "3"),
    ],
)
def test_tampering_is_found_and_named(dispatcher: Dispatcher, statement: str, message: str, position: str) -> None:
    write_events(dispatcher, 8)
    change(dispatcher, statement)
    with pytest.raises(Corrupt, match=message) as found:
        dispatcher.database.read(audit.verify_chain)
    assert found.value.value == position


def test_two_events_that_changed_places_are_found(dispatcher: Dispatcher) -> None:
    write_events(dispatcher, 6)
    change(dispatcher, "UPDATE events SET position = 100 WHERE position = 3")
    change(dispatcher, "UPDATE events SET position = 3 WHERE position = 4")
    change(dispatcher, "UPDATE events SET position = 4 WHERE position = 100")
    with pytest.raises(Corrupt, match="was changed"):
        dispatcher.database.read(audit.verify_chain)


def test_a_project_reads_its_own_events_only(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    write_events(dispatcher, 3)
    assert {event.project for event in call("audit.list")} == {"flights"}
    newest = call("audit.list", limit=1)[0].position
    assert [event.position for event in call("audit.list", before=newest)] == [newest - 1, newest - 2]
    assert call("audit.list", limit=0) == []


def test_a_ref_finds_itself_and_its_versions_letter_by_letter(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    for ref in ("model:late", "model:late/1", "model:late2", "model:LATE/1", "model:l_te/1", "model:later/1"):
        dispatcher.write("flights", LOCAL_ACTOR, lambda tx, at=ref: tx.emit("registry.x", f"flights/{at}"))
    found = {event.ref for event in call("audit.list", ref="flights/model:late")}
    assert found == {"flights/model:late", "flights/model:late/1"}
    assert len(call("audit.list", type_prefix="registry.")) == 6
    assert call("audit.list", type_prefix="REGISTRY.") == call("audit.list", type_prefix="re%") == []


def test_hashes_of_older_versions_stay_and_whose_call_it_was_is_hashed_too() -> None:
    told: dict[str, Any] = {"reason": "why", "payload": {"b": 1, "a": [1.5]}, "cause": 3, "position": 4, "chain": "x"}
    moments = {"event_at": 1, "recorded_at": 2}
    event = Event(7, "flights", "registry.alias_set", "flights/model:late/1", "person:ana", **moments, **told)
    known = "4fdfffc51fd0389a935ddc633505190015411d8690e42c6750fcf756052cd09e"
    assert chain_hash("ab", event) == known
    others = [msgspec.structs.replace(event, **{name: "tok_1"}) for name in ("token_id", "client")]
    assert len({known, *(chain_hash("ab", other) for other in others)}) == 3
