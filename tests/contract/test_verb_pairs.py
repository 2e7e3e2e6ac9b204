"""Two verbs at once end as one after the other would, in one order or the other: answers, refusals and rows.

What claims jobs twice at once for one worker is left out: each passes over what the other holds at that moment, so that
a younger job may go before an older one.

Every call of ``verb_calls`` is made alone first, which tells what it reads and which rows it changes. Two calls that
change the same row, or of which each reads what the other changes, are then played on PostgreSQL so that the second
runs whole between two statements of the first, and on SQLite at once. ``LOOPWRIGHT_TEST_PAIRS=all`` plays each of them
at every statement, ``LOOPWRIGHT_TEST_PAIRS=jobs.claim,jobs.fail`` those of some verbs alone.
"""

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import event

from loopwright.governance import Dispatcher
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import LoopwrightError
from loopwright.kernel.verbs import VERBS
from loopwright.store import postgres, statements
from loopwright.store.columns import METADATA
from tests.contract.verb_calls import LEFT_OUT, Prepared, VerbCall, prepare
from tests.databases import Rows, put_rows_back, rows_of
from tests.loop.conftest import Importer, Loop
from tests.store.interleaving import at_once, pausing, play_interrupted

PAIRS = os.environ.get("LOOPWRIGHT_TEST_PAIRS", "")
EVERY = PAIRS == "all"
ONLY = frozenset() if EVERY else frozenset(filter(None, PAIRS.split(",")))
_READS = re.compile(r'\b(?:FROM|JOIN|USING)\s+"?(\w+)"?')
_WRITES = re.compile(r'\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?')
_MADE_UP = re.compile(
    r"\b[a-z]+_[0-9A-HJKMNP-TV-Z]{26}\b|\blw[a-z]?_[\w-]{30,}"
    r"|(?<='document_digest': ')[0-9a-f]{64}|(?<='fingerprint': ')[0-9a-f]{64}"
)
"""Ids and secrets, and digests of what holds such, which differ from call to call."""
_COUNTED = {"event_id", "timer_id", "point_id", "position", "chain", "cause", "secret_digest", "token_digest"}
"""Columns that number rows in the order in which they came, or hold what is drawn."""
_LOGS = {"events", "lineage_edges", "idempotency_keys"}
"""Tables that nearly every verb appends to."""

Row = tuple[Any, ...]


HANDS_OUT = "jobs.claim"
"""Takes of the jobs that wait those that nobody holds at that moment: which it gets is no question of order, but each
job is handed to one worker, or is what the other call made of it."""


@dataclass
class Footprint:
    """What one call does alone: tables it reads, rows it changes, and how many statements it takes."""

    reads: set[str] = field(default_factory=set)
    changed: set[tuple[str, str]] = field(default_factory=set)
    statements: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    @property
    def writes(self) -> set[str]:
        """Return the tables it changes, without the logs."""
        return {table for table, _ in self.changed}

    def meets(self, other: "Footprint") -> bool:
        """Say whether both change one row, or each reads what the other changes."""
        is_crossed = bool(self.reads & other.writes) and bool(other.reads & self.writes)
        return bool(self.changed & other.changed) or is_crossed


@dataclass(frozen=True)
class Outcome:
    """What two calls answered, and the rows of every table that they wrote to."""

    answers: tuple[str, str]
    rows: dict[str, list[str]]

    def swapped(self) -> "Outcome":
        """Return the same where the calls were made the other way round."""
        return Outcome((self.answers[1], self.answers[0]), self.rows)

    def is_like(self, other: "Outcome") -> bool:
        """Say whether answers and rows are the same; a table that only one of both wrote to stayed as it was."""
        shared = self.rows.keys() & other.rows.keys()
        return self.answers == other.answers and all(self.rows[name] == other.rows[name] for name in shared)

    def is_mixed_of(self, forth: "Outcome", back: "Outcome") -> bool:
        """Say whether each row by itself is what it is after one of both orders."""
        orders = (forth.rows, back.rows)
        return all(
            set(rows) <= {row for order in orders if name in order for row in order[name]}
            for name, rows in self.rows.items()
            if any(name in order for order in orders)
        )

    def against(self, forth: "Outcome", back: "Outcome") -> str:
        """Say what differs from both orders."""
        told = []
        for name, order in (("forth", forth), ("back", back)):
            if self.answers != order.answers:
                for mine, theirs in zip(self.answers, order.answers, strict=True):
                    at = next((at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
                    told.append(f"{name}: answers ...{mine[max(0, at - 100) : at + 200]} not {theirs[at : at + 200]}")
            for table in sorted(self.rows.keys() & order.rows.keys()):
                mine, theirs = self.rows[table], order.rows[table]
                if mine != theirs:
                    extra, lacking = [set(a) - set(b) for a, b in ((mine, theirs), (theirs, mine))]
                    told.append(f"{name}: {table} has {sorted(extra)}, lacks {sorted(lacking)}")
        return "; ".join(told)


class Bench:
    """The prepared state, kept as rows, and the two ways of making calls in it."""

    def __init__(self, dispatcher: Dispatcher, prepared: Prepared, patch: pytest.MonkeyPatch) -> None:
        database = dispatcher.database
        self.database, self.dispatcher = database, dispatcher
        database.seal()
        self.before = rows_of(database)
        self._known = set(_MADE_UP.findall(repr(self.before)))
        self._statements: list[str] = []
        self._serial: dict[tuple[int, int], Outcome] = {}
        ask = statements._ask
        patch.setattr(
            statements, "_ask", lambda to, sent, *rest, **how: self._note(sent) or ask(to, sent, *rest, **how)
        )
        event.listen(database.engine, "before_cursor_execute", lambda *sent: self._note(sent[2]))
        self.calls = prepared.calls()
        self.footprints = [self._walk(call) for call in self.calls]

    def make(self, call: VerbCall) -> str:
        """Make a call and return its answer or refusal, without what is made up."""
        try:
            answer = self.dispatcher.call(call.verb, call.args, actor=call.actor, project=call.project)
        except LoopwrightError as error:
            return self._without_names(f"{error.code}: {error.message}")
        return self._without_names(to_json(answer).decode())

    def told(self, rows: Rows) -> dict[str, list[str]]:
        """Return rows as text in no order, without what is made up or counted."""
        columns = {table.name: [column.name for column in table.columns] for table in METADATA.sorted_tables}
        return {
            name: sorted(
                self._without_names(
                    repr([value for column, value in zip(columns[name], row, strict=True) if column not in _COUNTED])
                )
                for row in found
            )
            for name, found in rows.items()
        }

    def _without_names(self, text: str) -> str:
        return _MADE_UP.sub(lambda name: name[0] if name[0] in self._known else _newly(name[0]), text)

    def _walk(self, call: VerbCall) -> Footprint:
        """Make a call alone, see what it did, and put the rows back."""
        self._statements.clear()
        answer = self.make(call)
        assert not re.match(r"[a-z_]+: ", answer), f"{call} is refused alone: {answer}"
        sent = list(self._statements)
        written = written_by(sent)
        after = rows_of(self.database, written)
        changed = {
            (name, repr(_key(name, row)))
            for name, found in after.items()
            if name not in _LOGS
            for row in _differing(found, self.before[name])
        }
        put_rows_back(self.database, self.before, written)
        return Footprint({name for one in sent for name in _READS.findall(one)}, changed, sent, written)

    def play(self, make: Callable[[], tuple[str, str]], tables: set[str]) -> Outcome:
        """Make two calls in some way and return how they ended and what the rows say; the rows are put back."""
        self._statements.clear()
        answers = make()
        written = tables | written_by(self._statements)  # of a try that lost, too
        outcome = Outcome(answers, self.told(rows_of(self.database, written)))
        put_rows_back(self.database, self.before, written)
        return outcome

    def in_order(self, first: VerbCall, second: VerbCall) -> Outcome:
        """Make one call after the other."""
        return self.play(lambda: (self.make(first), self.make(second)), self._tables(first, second))

    def at_once(self, first: VerbCall, second: VerbCall, after: int) -> Outcome:
        """Make the second call whole after some statements of the first."""

        def make() -> tuple[str, str]:
            calls = (lambda: self.make(first), lambda: self.make(second))
            played = at_once(*calls) if self.database.is_sqlite else play_interrupted(self.database, *calls, after)
            return played.both()

        return self.play(make, self._tables(first, second))

    def _tables(self, *calls: VerbCall) -> set[str]:
        return {table for call in calls for table in self.footprints[self.calls.index(call)].written}

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of calls that may get in each other's way; the first is the one that is interrupted."""
        for first, second in itertools.product(range(len(self.calls)), repeat=2):
            one, other = self.footprints[first], self.footprints[second]
            verbs = {self.calls[first].verb, self.calls[second].verb}
            is_turn = EVERY or bool(ONLY) or first == second or (first < second) == ((first + second) % 2 == 0)
            is_left_out = (first == second and verbs == {"jobs.claim"}) or (ONLY and not ONLY & verbs)
            does_meet = one.changed & other.changed or (EVERY and one.meets(other))
            if is_turn and does_meet and not is_left_out:
                yield first, second

    def rounds(self) -> Iterator[tuple[int, int, int]]:
        """Yield each pair with each number of statements after which the second call is to come."""
        return ((first, second, after) for first, second in self.pairs() for after in self.moments(first, second))

    def moments(self, first: int, second: int) -> list[int]:
        """Return after how many statements of the first call the second is to come."""
        one, other = self.footprints[first], self.footprints[second]
        if self.database.is_sqlite:
            return [0]
        if EVERY:
            return list(range(1, len(one.statements) + 1))
        touched = [at for at, sent in enumerate(one.statements, 1) if other.writes & set(_READS.findall(sent))]
        choices = sorted({*touched[:1], len(one.statements)})
        return choices if ONLY else [choices[(first + second) % len(choices)]]

    def serial(self, first: int, second: int) -> tuple[Outcome, Outcome]:
        """Return what comes of both orders."""
        for order in ((first, second), (second, first)):
            if order not in self._serial:
                self._serial[order] = self.in_order(self.calls[order[0]], self.calls[order[1]])
        return self._serial[first, second], self._serial[second, first].swapped()

    def _note(self, statement: str) -> None:
        if threading.current_thread().name != "loopwright-sealer":  # which follows what is committed in its own time
            self._statements.append(statement)


def _newly(name: str) -> str:
    kind, underscore, _ = name.partition("_")
    return f"{kind}_new" if underscore else "digest_new"


def written_by(sent: list[str]) -> set[str]:
    """Return the tables that statements change."""
    return {name for one in sent for name in _WRITES.findall(one) if name in METADATA.tables}


def _key(table: str, row: Row) -> Row:
    columns = list(METADATA.tables[table].columns)
    return tuple(value for column, value in zip(columns, row, strict=True) if column.primary_key)


def _differing(found: list[Row], before: list[Row]) -> list[Row]:
    told = [set(map(repr, rows)) for rows in (found, before)]
    return [row for row in (*found, *before) if (repr(row) in told[0]) != (repr(row) in told[1])]


@pytest.fixture
def bench(dispatcher: Dispatcher, loop: Loop, importer: Importer, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(dispatcher, prepare(loop, importer), monkeypatch)


def wrong_of(bench: Bench) -> tuple[int, list[str]]:
    """Play every pair; return how many were played, and what came of those that ended as neither order does."""
    wrong: list[str] = []
    played = 0
    with nullcontext() if bench.database.is_sqlite else pausing(bench.database):
        for first, second, after in bench.rounds():
            orders = bench.serial(first, second)
            came = bench.at_once(bench.calls[first], bench.calls[second], after)
            played += 1
            is_fine = any(map(came.is_like, orders))
            if not is_fine and HANDS_OUT in (bench.calls[first].verb, bench.calls[second].verb):
                is_fine = came.is_mixed_of(*orders)
            if not is_fine:
                names = f"{bench.calls[first]} after {after} statements, {bench.calls[second]}"
                wrong.append(f"{names}: {came.against(*orders)}")
    return played, wrong


def test_every_verb_that_changes_something_is_called_or_said_why_not(bench: Bench) -> None:
    called = {call.verb for call in bench.calls}
    changing = {verb.name for verb in VERBS.values() if not (verb.is_query or verb.is_operation)}
    own = {name for name in changing if VERBS[name].function.__module__.startswith("loopwright.")}
    assert not called & LEFT_OUT.keys()
    assert own - called == LEFT_OUT.keys()


@pytest.mark.timeout(7200 if EVERY else 600)
def test_two_at_once_end_as_one_after_the_other(bench: Bench) -> None:
    played, wrong = wrong_of(bench)
    assert not wrong, f"{len(wrong)} of {played}:\n" + "\n".join(wrong)
    assert played > 100 or ONLY


@pytest.mark.slow
def test_what_is_not_serializable_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same under READ COMMITTED, where what was read may be old when it is written back."""
    if bench.database.is_sqlite:
        pytest.skip("SQLite has one writer")
    at_risk = {"monitoring.declare", "monitoring.open_windows", "monitoring.set_reference"}
    chosen = [number for number, call in enumerate(bench.calls) if call.verb in at_risk]
    monkeypatch.setattr(bench, "pairs", lambda: itertools.product(chosen, repeat=2))
    laxer = bench.database.engine.execution_options(isolation_level="READ COMMITTED")
    run_once = postgres._run_once
    monkeypatch.setattr(postgres, "_run_once", lambda _engine, work: run_once(laxer, work))
    assert wrong_of(bench)[1]
