"""Faults that are planted on purpose: a simulation that cannot find them would prove nothing."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from loopwright.gateway import process
from loopwright.gateway.log import sealing, segments
from loopwright.gateway.log.batches import Batch, StreamKey
from loopwright.governance import dispatch
from loopwright.loop import sql as loop_sql
from loopwright.loop.engine import timers
from loopwright.store import jobs, sqlite
from loopwright.store import sql as store_sql
from loopwright.store.statements import run_text
from loopwright.store.tx import Tx
from loopwright.store.types import Job
from tests.simulation.seeds import play_seed
from tests.simulation.test_seeds import SEEDS
from tests.simulation.threads import replaced
from tests.simulation.work import plan_tick

Planted = dict[tuple[Any, str], Any]


def answered_before_it_is_durable() -> Planted:
    def run(_writer: Any, connection: Any, item: Any, _done: Any) -> None:
        call, future = item
        future.set_running_or_notify_cancel()
        run_text(connection, "SAVEPOINT verb")
        try:
            result = call(connection)
        except Exception as error:  # noqa: BLE001 - as the function it stands for
            run_text(connection, "ROLLBACK TO verb")
            sqlite.fail(future, error)
        else:
            future.set_result(result)
            future.simulation.wait(0.05)  # the commit takes its time, and the answer is on its way
        run_text(connection, "RELEASE verb")

    return {(sqlite.GroupWriter, "_run_in_savepoint"): run}


def idempotency_key_forgotten() -> Planted:
    return {(dispatch.store_sql, "insert_key"): lambda *_: True}


def next_timer_planned_by_the_work_itself() -> Planted:
    find_verb = timers.find_verb

    def find(name: str) -> Any:
        called = find_verb(name)
        if name != "simulation.tick":
            return called

        def tick(tx: Tx, *, due_at: int) -> Any:
            answer = called.function(tx, due_at=due_at)
            plan_tick(tx, due_at=due_at)
            return answer

        return msgspec.structs.replace(called, function=tick)

    return {(timers, "PLANNERS"): {}, (timers, "find_verb"): find}


def lease_not_looked_at() -> Planted:
    def held_by(tx: Tx, job_id: str, _worker: str, _state: str) -> Job:
        return jobs.get(tx, job_id=job_id)

    return {(jobs, "_held_by"): held_by}


def timer_fired_though_another_took_it() -> Planted:
    take = store_sql.take_timer
    return {(store_sql, "take_timer"): lambda *which: take(*which) or True}


def reaction_taken_twice() -> Planted:
    return {(loop_sql, "take_reaction"): lambda *_: True}


def rows_answered_before_they_are_written() -> Planted:
    append = segments.Stream.append

    def write_later(stream: segments.Stream, batches: Sequence[Batch]) -> int:
        waiting = vars(stream).setdefault("waiting", [])
        written = [append(stream, [batch]) for batch in waiting]
        waiting[:] = batches
        return sum(written)

    return {(segments.Stream, "append"): write_later}


def segment_deleted_before_it_is_registered() -> Planted:
    draft = sealing.ChunkSealer._draft

    def read(sealer: sealing.ChunkSealer, key: StreamKey, number: int) -> sealing.Draft:
        made = draft(sealer, key, number)
        made.stream.path(number).unlink()
        return made

    return {
        (sealing.ChunkSealer, "_draft"): read,
        (sealing.ChunkSealer, "_finish"): lambda _, draft: 0 if draft.chunk is None else draft.chunk.rows,
    }


def folder_entries_not_flushed() -> Planted:
    return {(segments.Stream, "flush_entries"): lambda _: None}


def flush_believed_after_one_that_failed() -> Planted:
    flush_one = segments.Stream._flush_one

    def flush(stream: segments.Stream, number: int, handle: int) -> None:
        try:
            flush_one(stream, number, handle)
        finally:
            stream._refused.clear()

    return {(segments.Stream, "_flush_one"): flush}


def new_name_after_each_start() -> Planted:
    return {(process, "_writer"): process._new_writer}


class Plant(NamedTuple):
    """A fault to plant.

    Args:
        plant: Returns what stands in for what.
        promise: What must be told as broken, in words of the invariant.
        seed: One that finds it as the code is today; where it does not any more, the others are tried.
    """

    plant: Callable[[], Planted]
    promise: str
    seed: int


PLANTS = [
    Plant(answered_before_it_is_durable, "were said to be sealed and are in no chunk", 1),
    Plant(idempotency_key_forgotten, "took effect 2 times", 2),
    Plant(next_timer_planned_by_the_work_itself, "timers plan the next tick", 294),
    Plant(lease_not_looked_at, "job job_", 17),
    Plant(timer_fired_though_another_took_it, "did not come once", 126),
    Plant(reaction_taken_twice, "took effect or was given up 2 times", 5),
    Plant(rows_answered_before_they_are_written, "were answered and are lost", 1),
    Plant(segment_deleted_before_it_is_registered, "were answered and are lost", 2),
    Plant(folder_entries_not_flushed, "were said to be sealed and are in no chunk", 164),
    Plant(flush_believed_after_one_that_failed, "were answered and are lost", 71),
    Plant(new_name_after_each_start, "are there 2 times", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTS, ids=lambda planted: str(planted.plant.__name__))
def test_a_planted_fault_is_found(planted: Plant) -> None:
    with replaced(planted.plant()):
        finding = next((seed for seed in [planted.seed, *range(SEEDS)] if _is_told(seed, planted.promise)), None)
    assert finding is not None, "no seed finds it"


def _is_told(seed: int, promise: str) -> bool:
    return any(promise in line for line in play_seed(seed).broken)
