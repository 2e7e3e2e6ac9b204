"""Garbage is collected above projects, by an admin, and told."""

import os
from pathlib import Path

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher, audit
from loopwright.kernel.clock import DAY_US, FixedClock, WallClock
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import VERBS, Role
from loopwright.loop import OperationContext, Reactor
from loopwright.loop.events import GarbageFreed
from loopwright.loop.garbage import collect_garbage
from loopwright.store.blobs import BlobStore


@pytest.fixture
def wall() -> FixedClock:
    """The machine's time, for a file's time is the machine's."""
    return FixedClock(WallClock().now_us())


def context(dispatcher: Dispatcher, blobs: BlobStore, project: str, state_dir: Path) -> OperationContext:
    reactor = Reactor(dispatcher)
    return OperationContext(dispatcher, blobs, reactor, lambda seen, _: seen, "", project, LOCAL_ACTOR, state_dir)


def test_what_was_freed_is_in_the_audit_trail(
    dispatcher: Dispatcher, blob_store: BlobStore, wall: FixedClock, tmp_path: Path
) -> None:
    ref = blob_store.put(b"nobody names this")
    os.utime(blob_store.path(ref.digest), (1, 1))
    above = context(dispatcher, blob_store, SYSTEM, tmp_path)
    assert collect_garbage(above, plan=True).waiting.files == 1
    assert collect_garbage(above).freed_bytes == 0
    wall.at_us += 2 * DAY_US
    assert collect_garbage(above, plan=True).freed_bytes == collect_garbage(above).freed_bytes == ref.size_bytes
    dispatcher.database.seal()
    told = dispatcher.read(SYSTEM, LOCAL_ACTOR, lambda tx: audit.list_events(tx, limit=100))
    [freed] = [event.read(GarbageFreed) for event in told if event.type == "storage.garbage_freed"]
    assert (freed.blobs, freed.size_bytes, freed.freed) == (1, ref.size_bytes, {"blobs": ref.size_bytes})


def test_only_an_admin_above_projects_collects(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path) -> None:
    assert VERBS["storage.collect_garbage"].role is Role.ADMIN
    with pytest.raises(InvalidInput, match="shared by every project"):
        collect_garbage(context(dispatcher, blob_store, "flights", tmp_path))
