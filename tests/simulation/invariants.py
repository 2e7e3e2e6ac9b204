"""What must hold: for whoever reads the log meanwhile, and at the end for everything that was promised."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopwright.kernel.events import Event
from loopwright.store.blobs import BlobStore
from loopwright.store.sealing import chain_hash
from tests.simulation.ledger import Ledger
from tests.simulation.scheduler import Broken
from tests.simulation.work import TICK_S

_ENDED = {"done", "failed", "cancelled", "dismissed"}


class Log:
    """Reads the database from outside, as it is committed.

    Args:
        file: SQLite.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._opened: sqlite3.Connection | None = None
        self.position = 0
        self._chain = ""

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Return what a statement finds."""
        if self._opened is None:
            self._opened = sqlite3.connect(self._file)
            self._opened.row_factory = sqlite3.Row
        return [dict(row) for row in self._opened.execute(statement, values)]

    def look(self) -> None:
        """Read on as any reader behind a cursor does, and hold it against what was read before.

        Raises:
            Broken: A position was skipped, or an event changed after it was read.
        """
        known = self.rows("SELECT chain FROM events WHERE position = ?", self.position)
        if self.position and (not known or known[0]["chain"] != self._chain):
            raise Broken(f"the event at position {self.position} is another one than was read")
        for row in self.rows("SELECT * FROM events WHERE position > ? ORDER BY position", self.position):
            if row["position"] != self.position + 1:
                raise Broken(f"position {row['position']} came after {self.position}")
            if row["chain"] != chain_hash(self._chain, _event(row)):
                raise Broken(f"the chain breaks at position {row['position']}")
            self.position, self._chain = row["position"], row["chain"]

    def unrest(self, wall_us: int) -> str:
        """Say what is still to come; empty where nothing is."""
        jobs = self.rows("SELECT job_id, state FROM jobs WHERE state IN ('queued', 'running')")
        unsealed = self.rows("SELECT event_id FROM events WHERE position IS NULL")
        timers = self.rows("SELECT key FROM timers WHERE key <> 'simulation.tick' OR due_at <= ?", wall_us)
        waiting = self.rows("SELECT rule, position FROM reactions WHERE retry_at IS NOT NULL")
        found = {"jobs": jobs, "unsealed events": unsealed, "timers": timers, "reactions": waiting}
        return "; ".join(f"{name}: {rows}" for name, rows in found.items() if rows)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the payloads of events of a type, with their positions."""
        rows = self.rows("SELECT payload, position, cause FROM events WHERE type = ? ORDER BY event_id", kind)
        return [{**msgspec.json.decode(row["payload"]), "at": row["position"], "cause": row["cause"]} for row in rows]

    def counted(self, kind: str, key: str = "number") -> Counter[Any]:
        """Return how often events of a type name each value."""
        return Counter(event[key] for event in self.events(kind))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


def _event(row: dict[str, Any]) -> Event:
    values = {name: row[name] for name in Event.__struct_fields__ if name != "project"}
    return Event(**{**values, "project": row["project_id"], "payload": msgspec.json.decode(row["payload"])})


def check(log: Log, ledger: Ledger, blobs: BlobStore) -> list[str]:
    """Return what does not hold at the end, once everything has come to rest."""
    calls = (*_deposits(log, ledger), *_orders(log, ledger), *_reminders(log, ledger), *_ticks(log))
    return [*calls, *_rows(log, ledger, blobs)]


def _rows(log: Log, ledger: Ledger, blobs: BlobStore) -> Iterator[str]:
    """Hold the rows in chunks against those that gateways took."""
    rows: Counter[str] = Counter()
    for chunk in log.rows("SELECT * FROM chunks"):
        frame = pl.read_parquet(blobs.get(chunk["digest"]))
        if frame.height != chunk["rows"]:
            yield f"chunk {chunk['writer']}/{chunk['seq']} holds {frame.height} rows and tells {chunk['rows']}"
        rows.update(frame["prediction_id"].to_list())
    asked, answered = ledger.all_asked("rows"), ledger.all_answered("rows")
    for number, what in asked.items():
        times = {rows.pop(f"{what['of']}-{number}-{place}", 0) for place in range(what["count"])}
        if len(times) > 1:
            yield f"rows {number} are there in part"
        if max(times) > ledger.tries[number]:
            yield f"rows {number} came {ledger.tries[number]} times and are there {max(times)} times"
        if number in answered and 0 in times:
            yield f"rows {number} were answered and are lost"
    yield from (f"row {name} was never sent" for name in rows)


def missing_from_chunks(log: Log, ledger: Ledger, numbers: list[int], blobs: BlobStore) -> list[int]:
    """Return which of the rows that were sent under these numbers are in no chunk."""
    stored: set[str] = set()
    for chunk in log.rows("SELECT digest FROM chunks"):
        stored.update(pl.read_parquet(blobs.get(chunk["digest"]))["prediction_id"].to_list())
    asked = ledger.all_asked("rows")
    return [number for number in numbers if f"{asked[number]['of']}-{number}-0" not in stored]


def _once(what: str, asked: Any, answered: Any, took_effect: Counter[Any]) -> Iterator[str]:
    """Hold how often things were done against what was asked and what was answered."""
    for number in asked:
        times = took_effect.get(number, 0)
        if times > 1:
            yield f"{what} {number} took effect {times} times"
        if number in answered and times == 0:
            yield f"{what} {number} was answered and is lost"
    for number in took_effect:
        if number not in asked:
            yield f"{what} {number} was never asked for"


def _deposits(log: Log, ledger: Ledger) -> Iterator[str]:
    deposited = log.events("simulation.deposited")
    counted = Counter(event["number"] for event in deposited)
    yield from _once("deposit", ledger.all_asked("deposit"), ledger.all_answered("deposit"), counted)
    echoes = log.counted("simulation.echoed", "answers")
    echoes.update(event["cause"] for event in log.events("loop.reaction_failed") if event["rule"] == "echo")
    for event in deposited:
        if (times := echoes.pop(event["at"], 0)) != 1:
            yield f"the reaction to position {event['at']} took effect or was given up {times} times"
    for position in echoes:
        yield f"a reaction answers position {position}, which asks for none"


def _orders(log: Log, ledger: Ledger) -> Iterator[str]:
    jobs = log.rows("SELECT * FROM jobs WHERE kind = 'simulation.labour'")
    by_number = Counter(msgspec.json.decode(job["args"])["number"] for job in jobs)
    answered = ledger.all_answered("order")
    yield from _once("order", ledger.all_asked("order"), answered, by_number)
    known = {job["job_id"] for job in jobs}
    yield from (f"job {job_id} was answered and is not there" for job_id in answered.values() if job_id not in known)
    ends = Counter(
        (event["job_id"], kind) for kind in ("done", "failed", "cancelled") for event in log.events(f"jobs.{kind}")
    )
    for job in jobs:
        yield from _job(log, job, ends)


def _job(log: Log, job: dict[str, Any], ends: Counter[Any]) -> Iterator[str]:
    job_id, state, args = job["job_id"], job["state"], msgspec.json.decode(job["args"])
    if state not in _ENDED:
        yield f"job {job_id} has not ended: {state}"
        return
    told = {kind: ends[job_id, kind] for kind in ("done", "failed", "cancelled") if ends[job_id, kind]}
    if told != {state: 1}:
        yield f"job {job_id} is {state} and its events tell {told}"
    if state == "done":
        wanted = {"number": args["number"], "parts": args["parts"], "by": job["worker"]}
        if msgspec.json.decode(job["result"]) != wanted:
            yield f"job {job_id} is done with {job['result']}, not {wanted}"
        parts = {event["part"] for event in log.events("simulation.worked") if event["number"] == args["number"]}
        if parts != set(range(args["parts"])):
            yield f"job {job_id} is done and only its parts {sorted(parts)} are"
    ref = f"flights/simulation:{args['number']}"
    if state == "failed" and not log.rows("SELECT 1 FROM incidents WHERE subject = ? AND kind = 'job'", ref):
        yield f"job {job_id} has failed and no incident tells of it"


def _reminders(log: Log, ledger: Ledger) -> Iterator[str]:
    rang = log.counted("simulation.rang")
    for key in log.counted("loop.timer_failed", "key"):
        if key.startswith("simulation.ring/"):
            rang[int(key.rpartition("/")[2])] += 1  # told to a person instead
    yield from _once("reminder", ledger.all_asked("remind"), ledger.all_answered("remind"), rang)


def _ticks(log: Log) -> Iterator[str]:
    ticked = log.counted("simulation.ticked", "due_at")
    for key in log.counted("loop.timer_failed", "key"):
        if key.startswith("simulation.tick@"):
            ticked[int(key.rpartition("@")[2])] += 1
    planned = log.rows("SELECT due_at FROM timers WHERE key = 'simulation.tick'")
    if len(planned) != 1:
        yield f"{len(planned)} timers plan the next tick"
        return
    first = min(ticked, default=planned[0]["due_at"])
    for due_at in range(first, planned[0]["due_at"], TICK_S * 1_000_000):
        if ticked.pop(due_at, 0) != 1:
            yield f"the tick of {due_at} did not come once"
    yield from (f"a tick came at {due_at}, which was not due" for due_at in ticked)
