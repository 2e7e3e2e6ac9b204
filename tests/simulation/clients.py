"""Clients: they ask, repeat what the SDK repeats, and remember what they were told."""

from collections.abc import Callable
from typing import Any

from loopwright.kernel.errors import LoopwrightError
from tests.simulation.gateway import rows_of
from tests.simulation.ledger import Ledger
from tests.simulation.processes import new_caller
from tests.simulation.scheduler import Life, Simulation
from tests.simulation.work import FATES

PROJECT = "flights"


class Client:
    """One program that uses the platform through the SDK's caller.

    Args:
        simulation: Where it runs.
        ledger: Where it notes what it asked and what it was told.
        calls: How often it asks for something.
        number: Which gateway it uses.
    """

    def __init__(self, simulation: Simulation, ledger: Ledger, calls: int, number: int) -> None:
        self._simulation, self._ledger, self._calls = simulation, ledger, calls
        self._gateway = f"gateway-{number}"
        self.is_done = False

    def begin(self, life: Life) -> None:
        """Ask for one thing after another."""
        caller = new_caller(f"http://{self._gateway}")
        chance = self._simulation.chance
        kinds = (self._deposit, self._deposit, self._order, self._remind, self._cancel, *(self._log,) * 4, self._seal)
        while self._calls > 0:
            self._calls -= 1
            chance.choice(kinds)(caller)
            self._simulation.wait(chance.choice((0.0, 0.05, 0.5, 2.0)))
        self.is_done = True

    def _deposit(self, caller: Any) -> None:
        self._ask(caller, "deposit", {})

    def _order(self, caller: Any) -> None:
        chance = self._simulation.chance
        self._ask(caller, "order", {"parts": chance.randint(1, 3), "fate": chance.choice(FATES)})

    def _remind(self, caller: Any) -> None:
        self._ask(caller, "remind", {"after_s": self._simulation.chance.choice((0, 1, 5, 20))})

    def _cancel(self, caller: Any) -> None:
        """Cancel some job; whether that came in time the job's row says."""
        jobs = sorted(self._ledger.all_answered("order").values())
        if jobs:
            job_id = self._simulation.chance.choice(jobs)
            self._try(lambda: caller.call("jobs.cancel", {"job_id": job_id, "reason": "not wanted"}, PROJECT))

    def _log(self, caller: Any) -> None:
        """Send rows to the gateway, again where their answer is lost: they are counted by the ids that they bring."""
        kind, count = self._simulation.chance.choice(("labels", "predictions")), self._simulation.chance.randint(1, 3)
        number = self._ledger.ask("rows", of=kind, count=count, gateway=self._gateway)
        rows = rows_of(kind, number, count, self._simulation.wall_us)
        answer = self._try(lambda: caller.gateway(f"/v1/{PROJECT}/{kind}/late", {"rows": rows}))
        if answer is not None:
            self._ledger.answer("rows", number, answer)
        self._simulation.note(f"{kind} {number} {'are answered' if answer is not None else 'have no answer'}")

    def _seal(self, caller: Any) -> None:
        """Have the gateway seal: what it had answered before is in chunks once it says so."""
        before = [
            number
            for number in self._ledger.all_answered("rows")
            if self._ledger.all_asked("rows")[number]["gateway"] == self._gateway
        ]
        if self._try(lambda: caller.gateway(f"/v1/{PROJECT}/seal", {})) is not None:
            self._simulation.note(f"{self._gateway} says that {before} are sealed")
            self._ledger.sealed(before)

    def _ask(self, caller: Any, kind: str, what: dict[str, Any]) -> None:
        number = self._ledger.ask(kind, **what)
        answer = self._try(lambda: caller.call(f"simulation.{kind}", {"number": number, **what}, PROJECT))
        if answer is not None:
            self._ledger.answer(kind, number, answer)
        self._simulation.note(f"{kind} {number} {'is answered' if answer is not None else 'has no answer'}")

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except LoopwrightError:
            return None
