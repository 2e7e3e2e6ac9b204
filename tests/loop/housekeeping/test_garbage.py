"""Garbage is collected above projects, by an admin, and told."""

import os
from pathlib import Path

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher, audit
from loopwright.kernel.clock import DAY_US, FixedClock, WallClock
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.kernel.verbs import VERBS, Role
from loopwright.loop import OperationContext, Reactor
from loopwright.loop.events import GarbageFreed
from loopwright.loop.housekeeping.garbage import collect_garbage, sweep_gateways, sweep_workers
from loopwright.pipelines import StepRun, sql
from loopwright.pipelines.cache import find_hit
from loopwright.store.blobs import BlobStore
from loopwright.store.garbage import Freed
from loopwright.wire.folders import hold_folder


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


def test_models_of_a_gateway_that_is_gone_go_and_its_rows_stay(tmp_path: Path) -> None:
    for name in ("gone", "runs", "young"):
        for file in ("models/key/model.txt", "code/flights/digest.zip", "spool/flights/1.segment", "lock"):
            (tmp_path / f"gateway-{name}" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"gateway-{name}" / file).write_bytes(b"12")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "gateway-young" / "models" / "key" / "model.txt").write_bytes(b"34")
    with hold_folder(tmp_path / "gateway-runs" / "lock", 0.0, lambda: Unavailable("taken")):
        planned = sweep_gateways(tmp_path, 2_000_000, is_plan=True)
        assert (planned.files, planned.size_bytes) == (2, 4)
        assert (tmp_path / "gateway-gone" / "models" / "key").exists()
        assert sweep_gateways(tmp_path, 2_000_000) == planned
    left = {name: sorted(path.name for path in (tmp_path / f"gateway-{name}").iterdir()) for name in ("gone", "runs")}
    assert left == {"gone": ["lock", "spool"], "runs": ["code", "lock", "models", "spool"]}
    assert (tmp_path / "gateway-young" / "models").exists()


def test_what_a_killed_worker_had_for_a_moment_goes_and_that_of_one_that_lives_stays(tmp_path: Path) -> None:
    for name in ("worker", "worker-2", "worker-3"):
        for file in ("children/1/in/rows", "tmp/tmp_1/rows.arrow", "code/file", "lock"):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(b"12")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "worker-3" / "tmp" / "tmp_1" / "rows.arrow").write_bytes(b"34")
    with hold_folder(tmp_path / "worker" / "lock", 0.0, lambda: Unavailable("taken")):
        planned = sweep_workers(tmp_path, 2_000_000, is_plan=True)
        assert planned.size_bytes == 4
        assert (tmp_path / "worker-2" / "tmp").exists()
        assert sweep_workers(tmp_path, 2_000_000) == planned
    left = {root.name: sorted(path.name for path in root.iterdir()) for root in tmp_path.iterdir()}
    whole = ["children", "code", "lock", "tmp"]
    assert left == {"worker": whole, "worker-2": ["code", "lock"], "worker-3": whole}


def test_outputs_that_spared_no_step_for_a_month_are_forgotten(
    dispatcher: Dispatcher, blob_store: BlobStore, wall: FixedClock, tmp_path: Path
) -> None:
    log = blob_store.put(b"what it said")

    def keep(key: str) -> None:
        run = StepRun("exe_1", "load", "done", 1, output=7, log_digest=log.digest)
        dispatcher.write("flights", LOCAL_ACTOR, lambda tx: sql.put_cached(tx, key, run))

    def spares(key: str) -> bool:
        return dispatcher.write("flights", LOCAL_ACTOR, lambda tx: find_hit(tx, key)) is not None

    above = context(dispatcher, blob_store, SYSTEM, tmp_path)
    keep("used")
    keep("unused")
    wall.at_us += 20 * DAY_US
    assert spares("used")
    wall.at_us += 20 * DAY_US
    kept = Freed("outputs kept for steps to come", 1, 0)
    for is_plan in (True, False):
        assert collect_garbage(above, plan=is_plan).freed[1:] == [kept]
    assert collect_garbage(above).freed[1:] == []
    assert (spares("used"), spares("unused")) == (True, False)
    assert collect_garbage(above, unused="60d").waiting.files == 0  # what is kept still names its blobs
    with pytest.raises(InvalidInput, match="in use"):
        collect_garbage(above, unused="1h")
