"""What the platform is asked to do in a simulation: the least of each sort of work that tells whether it was done.

Every call leaves one event with the number it was given, so that the log says how often it took effect. They are
declared for one history only: no other test meets them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from loopwright.kernel import verbs
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.kernel.events import Event
from loopwright.kernel.verbs import verb
from loopwright.loop.engine import reactor
from loopwright.store import sql, timers, work
from loopwright.store.tx import Tx
from loopwright.store.work import NotYet, Work, job, job_kind
from tests.simulation.scheduler import Life, Simulation

TICK_S = 7
"""How often the timer that comes again is due."""


class Labour(Work, frozen=True):
    """A job in parts, and what becomes of it."""

    number: int
    parts: int
    fate: str


class Calls:
    """The verbs of one history."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        mark = verb("simulation.deposit", changes=Event)
        self.deposit = mark(self._deposit())
        self.order = verb("simulation.order", changes=Event)(self._order())
        self.remind = verb("simulation.remind", changes=Event)(self._remind())
        self.ring = verb("simulation.ring", changes=Event, internal=True)(self._ring())
        self.tick = verb("simulation.tick", changes=Event, internal=True)(self._tick())
        self.part = verb("simulation.part", changes=Event, internal=True)(self._part())
        timers.PLANNERS["simulation.tick"] = plan_tick
        reactor.reaction("simulation.deposited")(self._echo())
        job_kind("simulation.labour", retry_after_s=(0.5, 1.0, 2.0), deadline_s=25.0)(Labour)
        job(Labour)(self._labour())

    def _may_fail(self) -> None:
        if self._simulation.draws("verb.fails"):
            raise InvalidInput("chance says no", field="chance")
        if self._simulation.draws("verb.crashes"):
            raise ZeroDivisionError("chance divides by zero")

    def _deposit(self) -> Callable[..., int]:
        def deposit(tx: Tx, *, number: int) -> int:
            """Count a number once for each call."""
            tx.emit("simulation.deposited", tx.ref("simulation", str(number)), number=number)
            return number

        return deposit

    def _echo(self) -> Callable[[Tx, Event], None]:
        def echo(tx: Tx, event: Event) -> None:
            self._may_fail()
            tx.emit("simulation.echoed", event.ref, number=event.payload["number"], answers=event.position)

        return echo

    def _order(self) -> Callable[..., str]:
        def order(tx: Tx, *, number: int, parts: int, fate: str) -> str:
            """Start a job."""
            return tx.start_job(Labour(number, parts, fate), tx.ref("simulation", str(number))).job_id

        return order

    def _part(self) -> Callable[..., int]:
        def part(tx: Tx, *, number: int, part: int) -> int:
            """Do a part of a job."""
            tx.emit("simulation.worked", tx.ref("simulation", str(number)), number=number, part=part)
            return part

        return part

    def _remind(self) -> Callable[..., int]:
        def remind(tx: Tx, *, number: int, after_s: int) -> int:
            """Have a number rung once, later."""
            due_at, key = tx.now_us + after_s * SECOND_US, f"simulation.ring/{number}"
            sql.upsert_timer(tx, due_at, "simulation.ring", {"number": number}, key)
            return number

        return remind

    def _ring(self) -> Callable[..., int]:
        def ring(tx: Tx, *, number: int) -> int:
            """Ring."""
            self._may_fail()
            tx.emit("simulation.rang", tx.ref("simulation", str(number)), number=number)
            return number

        return ring

    def _tick(self) -> Callable[..., int]:
        def tick(tx: Tx, *, due_at: int) -> int:
            """Tick; the next is planned before."""
            self._may_fail()
            tx.emit("simulation.ticked", tx.ref("simulation", "clock"), due_at=due_at)
            return due_at

        return tick

    def _labour(self) -> Callable[[Any, Labour], dict[str, Any]]:
        simulation = self._simulation

        def labour(context: Any, args: Labour) -> dict[str, Any]:
            simulation.note(f"{_life(simulation).name} does {args.number}, attempt {context.job.attempt}")
            for part in range(args.parts):
                context.call(self.part, number=args.number, part=part)
                simulation.wait(simulation.chance.choice((0.0, 0.1, 2.0, 12.0)))
                context.progress(f"part {part} is done")
            _meet_fate(simulation, args.fate)
            return {"number": args.number, "parts": args.parts, "by": _life(simulation).worker}

        return labour


def plan_tick(tx: Tx, *, due_at: int) -> None:
    """Plan the tick after this one."""
    next_at = due_at + TICK_S * SECOND_US
    sql.upsert_timer(tx, next_at, "simulation.tick", {"due_at": next_at}, "simulation.tick")


FATES = ("done", "done", "done", "unavailable", "wrong", "crashes", "later")


def _meet_fate(simulation: Simulation, fate: str) -> None:
    if fate == "unavailable" and simulation.chance.random() < 0.7:
        raise Unavailable("a part of the world is away")
    if fate == "later" and simulation.chance.random() < 0.5:
        raise NotYet(1.0)
    if fate == "wrong":
        raise InvalidInput("this cannot be done", field="fate", value=fate)
    if fate == "crashes":
        raise ZeroDivisionError("a fault of ours")


def _life(simulation: Simulation) -> Life:
    assert simulation.current is not None
    return simulation.current.life


@contextmanager
def declared(simulation: Simulation) -> Iterator[Calls]:
    """Declare the verbs, the job, the timer and the reaction of a history, and forget them after it."""
    registries: list[dict[Any, Any]] = [
        *(verbs.VERBS, verbs._BY_FUNCTION, timers.PLANNERS, reactor.RULES, work.KINDS, work._BY_ARGS, work.JOBS),
    ]
    before = [dict(registry) for registry in registries]
    try:
        yield Calls(simulation)
    finally:
        for registry, entries in zip(registries, before, strict=True):
            registry.clear()
            registry.update(entries)
