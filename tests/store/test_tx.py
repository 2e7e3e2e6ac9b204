"""The transaction: timers by key, ids, refs and blobs."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import Actor, Dispatcher
from loopwright.kernel.errors import NotFound
from loopwright.kernel.verbs import Role
from loopwright.store import compacting, sql
from loopwright.store.timers import sooner
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef


def keys(tx: Tx, until: int = 1_000) -> list[str]:
    return [timer.key for timer in sql.due_timers(tx.connection, tx.project, until, limit=100)]


def test_timers_are_due_by_time_then_by_age(tx: Tx) -> None:
    for due_at, key in ((300, "c"), (100, "a2"), (200, "b"), (100, "a1")):
        sql.upsert_timer(tx, due_at, "things.do", {}, key)
    assert keys(tx) == ["a2", "a1", "b", "c"]
    assert keys(tx, 200) == ["a2", "a1", "b"]
    assert keys(tx, 99) == []


def test_a_key_names_one_timer(tx: Tx) -> None:
    sql.upsert_timer(tx, 100, "things.do", {"n": 1}, "a")
    sql.upsert_timer(tx, 500, "things.do", {"n": 2}, "a")
    (timer,) = sql.due_timers(tx.connection, tx.project, 1_000, limit=9)
    assert (timer.due_at, timer.args) == (500, {"n": 2})


def test_who_plans_again_puts_nothing_off(tx: Tx) -> None:
    for due_at, planned in ((500, 500), (900, 500), (100, 100), (500, 100)):
        sooner(tx, due_at, "a", compacting.start_compaction)
        assert [timer.due_at for timer in sql.due_timers(tx.connection, tx.project, 1_000, limit=9)] == [planned]


def test_timers_are_cancelled_by_prefix_letter_by_letter(tx: Tx) -> None:
    for key in ("window:late:1", "window:late:2", "window:LATE:1", "window:l_te:1", "window:later"):
        sql.upsert_timer(tx, 100, "things.do", {}, key)
    assert tx.cancel_later("window:late:") == 2
    assert tx.cancel_later("window:l_te:") == 1
    assert keys(tx) == ["window:LATE:1", "window:later"]


def test_a_timer_that_was_planned_anew_is_not_taken(tx: Tx) -> None:
    sql.upsert_timer(tx, 100, "things.do", {}, "a")
    (seen,) = sql.due_timers(tx.connection, tx.project, 1_000)
    sql.upsert_timer(tx, 900, "things.do", {}, "a")
    assert not sql.take_timer(tx.connection, seen)
    (now,) = sql.due_timers(tx.connection, tx.project, 1_000)
    assert sql.take_timer(tx.connection, now)
    assert not sql.take_timer(tx.connection, now)


def test_refs_and_ids(tx: Tx) -> None:
    assert tx.ref("model", "late", 17) == "flights/model:late/17"
    assert tx.new_id("run") < tx.new_id("run")


@pytest.mark.parametrize(("role", "is_kept"), [(Role.EDITOR, False), (Role.ADMIN, False), (Role.SERVICE, True)])
def test_blobs_are_kept_by_those_who_have_them(dispatcher: Dispatcher, role: Role, is_kept: bool) -> None:
    actor, ref = Actor("person:ana", {"flights": role}), BlobRef("c" * 64, 3)

    def keep(tx: Tx) -> None:
        tx.keep_blobs(ref)

    if not is_kept:
        with pytest.raises(NotFound, match="no such blob"):
            dispatcher.write("flights", actor, keep)
        dispatcher.write("flights", Actor("service:x", {"*": Role.SERVICE}), keep)
    dispatcher.write("flights", actor, keep)


def test_an_event_says_who_when_and_why(call: Callable[..., Any], dispatcher: Dispatcher) -> None:
    actor = Actor("person:ana", {"flights": Role.EDITOR})
    dispatcher.write("flights", actor, lambda tx: tx.emit("things.made", tx.ref("thing", "a"), reason="why", n=1), 7)
    event = call("audit.list", limit=1)[0]
    assert (event.actor, event.reason, event.payload, event.cause) == ("person:ana", "why", {"n": 1}, 7)
    assert event.event_at == event.recorded_at == dispatcher.wall.now_us()
