"""Blobs that nothing names go, after a while; whatever is put or named beside the collection stays."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.clock import DAY_US, HOUR_US, FixedClock, WallClock
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.verbs import Role
from loopwright.store import sql
from loopwright.store.blobs import BlobStore
from loopwright.store.engine import Database
from loopwright.store.garbage import GRACE_US, Garbage, collect_blobs
from loopwright.store.garbage.collecting import mark_blobs, sweep_blobs
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef


@pytest.fixture
def now() -> FixedClock:
    """A clock that begins at the machine's time, for a file's time is the machine's."""
    return FixedClock(WallClock().now_us())


@pytest.fixture
def collect(database: Database, blob_store: BlobStore, now: FixedClock) -> Callable[..., Garbage]:
    return lambda **options: collect_blobs(database, blob_store, now, **options)


@pytest.fixture
def name(dispatcher: Dispatcher) -> Callable[[BlobRef], Any]:
    """Name a blob in a row, as a gateway does that has sealed a segment."""

    def in_a_chunk(ref: BlobRef) -> Any:
        chunk = {"kind": "labels", "stream": "late", "writer": ref.digest[:8], "seq": 1, "rows": 1}
        chunk |= {"id_first": "01A", "id_last": "01A", "event_at_min": 1, "event_at_max": 1}
        told = {**chunk, "digest": ref.digest, "size_bytes": ref.size_bytes}
        return dispatcher.call("chunks.register", {"chunks": [told]}, actor=SERVICE_ACTOR, project="flights")

    return in_a_chunk


def put(blob_store: BlobStore, body: bytes, *, hours_ago: float = 0) -> BlobRef:
    ref = blob_store.put(body)
    if hours_ago:
        at = (WallClock().now_us() - hours_ago * HOUR_US) / 1e6
        os.utime(blob_store.path(ref.digest), (at, at))
    return ref


def freed(garbage: Garbage) -> list[tuple[str, int, int]]:
    return [(freed.what, freed.files, freed.size_bytes) for freed in garbage.freed]


def test_what_nothing_names_goes_a_day_after_it_was_seen(
    blob_store: BlobStore, collect: Callable[..., Garbage], name: Callable[[BlobRef], Any], now: FixedClock
) -> None:
    named, garbage = put(blob_store, b"named", hours_ago=100), put(blob_store, b"garbage", hours_ago=100)
    name(named)
    first = collect()
    assert freed(first) == [("blobs", 0, 0)]
    assert (first.waiting.files, first.waiting.size_bytes, first.next_at) == (1, 7, now.at_us + GRACE_US)
    assert [(kept.what, kept.files, kept.size_bytes) for kept in first.kept] == [("chunks of streams", 1, 5)]

    now.at_us += GRACE_US - 1
    assert freed(collect()) == [("blobs", 0, 0)]
    now.at_us += 2
    assert freed(collect(is_plan=True)) == [("blobs", 1, 7)]
    assert blob_store.has(garbage.digest), "a plan changes nothing"
    assert freed(collect()) == [("blobs", 1, 7)]
    assert (blob_store.has(named.digest), blob_store.has(garbage.digest)) == (True, False)
    assert freed(collect()) == [("blobs", 0, 0)]


def test_a_plan_condemns_nothing(database: Database, blob_store: BlobStore, collect: Callable[..., Garbage]) -> None:
    put(blob_store, b"garbage", hours_ago=100)
    assert collect(is_plan=True).waiting.files == 1
    assert database.read(sql.all_condemned) == {}


def test_a_blob_whose_row_went_stays_for_those_who_had_looked_it_up(
    database: Database, blob_store: BlobStore, collect: Callable[..., Garbage], name: Callable[[BlobRef], Any],
    now: FixedClock,
) -> None:  # fmt: skip
    ref = put(blob_store, b"compacted", hours_ago=100)
    name(ref)
    collect()
    now.at_us += 30 * DAY_US
    database.write(lambda connection: connection.exec_driver_sql("DELETE FROM chunks"))
    collect()
    now.at_us += GRACE_US - 1
    collect()
    assert blob_store.has(ref.digest)
    now.at_us += 2
    collect()
    assert not blob_store.has(ref.digest)


def test_of_a_blob_that_was_lost_the_row_goes_once_nothing_names_it(
    database: Database, blob_store: BlobStore, collect: Callable[..., Garbage], name: Callable[[BlobRef], Any],
    now: FixedClock,
) -> None:  # fmt: skip
    ref = put(blob_store, b"lost")
    name(ref)
    blob_store.path(ref.digest).unlink()
    for _ in range(2):
        collect()
        now.at_us += GRACE_US + 1
        assert len(database.read(sql.all_blobs)) == 1, "what misses it is to be told of it"
    database.write(lambda connection: connection.exec_driver_sql("DELETE FROM chunks"))
    for _ in range(2):
        collect()
        now.at_us += GRACE_US + 1
    assert database.read(sql.all_blobs) == []


def test_bytes_that_are_put_again_between_mark_and_sweep_stay(
    database: Database, blob_store: BlobStore, name: Callable[[BlobRef], Any], now: FixedClock
) -> None:
    ref = put(blob_store, b"again", hours_ago=100)
    mark_blobs(database, blob_store, now)
    now.at_us += GRACE_US + 1
    unnamed = mark_blobs(database, blob_store, now).unnamed
    assert list(unnamed) == [ref.digest]
    put(blob_store, b"again")  # no row can tell of it yet
    assert sweep_blobs(database, blob_store, unnamed, now.at_us - GRACE_US) == []
    name(ref)
    assert blob_store.get(ref.digest) == b"again"


def test_bytes_that_are_named_between_mark_and_sweep_stay(
    database: Database, blob_store: BlobStore, name: Callable[[BlobRef], Any], now: FixedClock
) -> None:
    ref = put(blob_store, b"again", hours_ago=100)
    mark_blobs(database, blob_store, now)
    now.at_us += GRACE_US + 1
    unnamed = mark_blobs(database, blob_store, now).unnamed
    name(ref)
    assert sweep_blobs(database, blob_store, unnamed, now.at_us) == []
    assert blob_store.has(ref.digest)


def test_what_is_named_while_it_is_condemned_is_taken_off_at_once(
    database: Database, blob_store: BlobStore, name: Callable[[BlobRef], Any], now: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ref = put(blob_store, b"just now", hours_ago=100)
    look = sql.all_condemned

    def look_and_let_it_be_named(connection: Any) -> Any:
        known = look(connection)
        monkeypatch.setattr(sql, "all_condemned", look)
        name(ref)
        return known

    monkeypatch.setattr(sql, "all_condemned", look_and_let_it_be_named)
    assert mark_blobs(database, blob_store, now).unnamed == {}
    assert database.read(look) == {}


def test_a_digest_that_was_swept_opens_nothing(
    dispatcher: Dispatcher, database: Database, blob_store: BlobStore, now: FixedClock
) -> None:
    ref = put(blob_store, b"uploaded and forgotten", hours_ago=100)

    def as_editor(work: Callable[[Tx], None]) -> None:
        def act(connection: Any) -> None:
            tx = dispatcher.tx(connection, "flights", SERVICE_ACTOR)
            tx.roles, tx.role = frozenset({"flights"}), Role.EDITOR
            work(tx)

        database.write(act)

    dispatcher.write("flights", SERVICE_ACTOR, lambda tx: tx.keep_blobs(ref))
    as_editor(lambda tx: tx.require_blobs(ref.digest))
    collect_blobs(database, blob_store, now)
    as_editor(lambda tx: tx.require_blobs(ref.digest))  # it claims the blob, which is condemned anew by the next run
    now.at_us += GRACE_US + 1
    collect_blobs(database, blob_store, now)
    assert blob_store.has(ref.digest)
    now.at_us += GRACE_US + 1
    collect_blobs(database, blob_store, now)
    assert not blob_store.has(ref.digest)
    with pytest.raises(NotFound, match="no such blob"):
        as_editor(lambda tx: tx.require_blobs(ref.digest))


@pytest.mark.parametrize(
    "before", ["loopwright.store.sql.condemn_blobs", "loopwright.store.blobs.local.LocalBlobStore.sweep"]
)
def test_killed_between_two_steps_it_leaves_what_the_next_run_finishes(
    blob_store: BlobStore, collect: Callable[..., Garbage], name: Callable[[BlobRef], Any],
    now: FixedClock, monkeypatch: pytest.MonkeyPatch, before: str,
) -> None:  # fmt: skip
    named, garbage = put(blob_store, b"named", hours_ago=100), put(blob_store, b"garbage", hours_ago=100)
    name(named)
    if before.endswith("sweep"):
        collect()
        now.at_us += GRACE_US + 1

    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(before, die)
        with pytest.raises(RuntimeError, match="killed"):
            collect()
    assert blob_store.get(named.digest) == b"named"
    assert blob_store.get(garbage.digest) == b"garbage", "its rows went, its bytes are there"
    for _ in range(2):
        collect()
        now.at_us += GRACE_US + 1
    collect()
    assert (blob_store.has(named.digest), blob_store.has(garbage.digest)) == (True, False)


def test_a_short_grace_is_refused(collect: Callable[..., Garbage]) -> None:
    with pytest.raises(InvalidInput, match="grace"):
        collect(grace_us=HOUR_US)


def test_half_written_blobs_of_killed_writers_go(
    blob_store: BlobStore, collect: Callable[..., Garbage], now: FixedClock, tmp_path: Path
) -> None:
    ref = put(blob_store, b"whole")
    draft = blob_store.path(ref.digest).with_name(".tmp1234")
    draft.write_bytes(b"half")
    now.at_us += GRACE_US + HOUR_US
    assert ("half-written blobs", 1, 4) in freed(collect())
    assert not draft.exists()
