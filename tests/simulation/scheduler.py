"""Virtual time: every thread of every process is a strand, and one seed says which of them goes on next.

A strand runs until it waits for something: for time, for another strand, or because chance lets others go first.
Nothing runs at once with anything else and nothing reads a clock, so one seed is one history, to the line.
"""

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from loopwright.kernel import ids

START_US = 1_362_096_000_000_000
"""2013-03-01, where the wall clock of every history begins."""
MOST_STEPS = 15_000
"""A history that takes more does not come to rest."""


class Killed(BaseException):
    """Ends the strands of a process that was killed; nothing they still do has an effect."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Process:
    """What is lost together: the strands that share memory.

    Args:
        simulation: Where it runs.
        name: How the trace calls it.
        begin: What its first strand does; called anew for each life.
    """

    def __init__(self, simulation: "Simulation", name: str, begin: Callable[["Life"], None]) -> None:
        self.simulation, self.name, self.begin = simulation, name, begin
        self.life: Life | None = None
        self.lives = 0
        self.starts_at: float | None = None
        self.dying: list[Life] = []

    def start(self) -> None:
        """Begin a new life."""
        self.lives += 1
        self.starts_at = None
        life = self.life = Life(self, self.lives)
        self.simulation.note(f"{self.name} starts")
        self.simulation.spawn(life, "main", lambda: self.begin(life))

    def stop_for(self, pause_s: float) -> None:
        """Have it start again after a while."""
        self.life = None
        self.starts_at = self.simulation.now + pause_s


class Life:
    """One life of a process."""

    def __init__(self, process: Process, number: int) -> None:
        self.process, self.number, self.simulation = process, number, process.simulation
        self.is_dead = False
        self.last_id = (0, 0)
        self.worker = ""
        """Under which name it holds jobs, where it is a worker."""
        self.strands: list[Strand] = []
        self.answers: Callable[[Any], Any] | None = None
        """Answers a request that reaches it, in a strand of its own; None while it does not listen."""
        self.on_death: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        return self.process.name


class Strand:
    """One thread of one life."""

    def __init__(self, life: Life, name: str, function: Callable[[], None], director: greenlet) -> None:
        self.life, self.name = life, name
        self.is_done = False
        self.wakes_at: float | None = 0.0
        self.is_ready: Callable[[], bool] | None = None
        self.run = greenlet(function, director)


class Simulation:
    """One history.

    Args:
        seed: What it follows from.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance, self.bytes = Random(seed), Random(f"{seed} bytes")
        self.now, self.wall_jump_us, self.steps = 1000.0, 0, 0
        self.lines: list[str] = []
        self.processes: list[Process] = []
        self.current: Strand | None = None
        self.rates: dict[str, float] = {}
        self.broken: list[str] = []
        self._strands: list[Strand] = []
        self._director = getcurrent()

    # --- what strands see ---

    @property
    def wall_us(self) -> int:
        """The machine's clock, which may jump."""
        return START_US + int(self.now * 1e6) + self.wall_jump_us

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.lines.append(f"{len(self.lines) + 1:5} {self.now - 1000:9.3f} {what}")

    def digest(self) -> str:
        """Return the name of this history: two runs of one seed have the same."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]

    def draws(self, kind: str) -> bool:
        """Say whether a fault of a kind happens here."""
        rate = self.rates.get(kind, 0.0)
        return rate > 0 and self.chance.random() < rate

    def wait(self, seconds: float | None, is_ready: Callable[[], bool] | None = None) -> bool:
        """Let others go on until something is so or time has passed; say whether it is so."""
        strand = self.current
        assert strand is not None, "only a strand may wait"
        self.check_alive()
        strand.wakes_at = None if seconds is None else self.now + max(0.0, seconds)
        strand.is_ready = is_ready
        self._leave()
        return is_ready is None or is_ready()

    def pause(self) -> None:
        """Let others go first, perhaps."""
        if self.chance.random() < 0.3:
            self.wait(0.0)

    def check_alive(self) -> None:
        """End here what belongs to a process that was killed."""
        if self.current is not None and self.current.life.is_dead:
            raise Killed

    def crash(self, where: str) -> None:
        """Kill the process that runs now, at this very place."""
        assert self.current is not None
        self.kill(self.current.life, where)
        raise Killed

    # --- what the director does ---

    def spawn(self, life: Life, name: str, function: Callable[[], Any]) -> Strand:
        """Begin a strand of a process."""

        def run() -> None:
            try:
                function()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - a thread that dies of it is what is looked for
                self.break_off(life, name, error)
            strand.is_done = True

        strand = Strand(life, name, run, self._director)
        life.strands.append(strand)
        self._strands.append(strand)
        return strand

    def break_off(self, life: Life, name: str, error: BaseException) -> None:
        """Note that a thread died of an error."""
        self.note(f"{life.name}.{name} died: {type(error).__name__}: {error}")
        self.broken.append(f"the thread {name} of {life.name} died of {type(error).__name__}: {error}")

    def kill(self, life: Life, where: str) -> None:
        """End a process as ``kill -9`` does; its supervisor starts it again."""
        if life.is_dead:
            return
        self.note(f"{life.name} is killed {where}")
        life.is_dead = True
        life.process.dying.append(life)
        if life.process.life is life:
            life.process.stop_for(self.chance.uniform(0.1, 3.0))

    def step(self) -> None:
        """Have one strand go on to where it waits next."""
        self._bury()
        for process in self.processes:
            if process.starts_at is not None and process.starts_at <= self.now:
                process.start()
        ready = [strand for strand in self._strands if _may_go_on(strand, self.now)]
        if not ready:
            self._let_time_pass()
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Broken("the platform does not come to rest")
        self._go_on(ready[int(self.chance.random() * len(ready))])
        self.now += self.chance.random() * 0.002

    def _go_on(self, strand: Strand) -> None:
        ids._last = strand.life.last_id
        self.current = strand
        strand.run.switch()
        self.current = None
        strand.life.last_id = ids._last
        if strand.is_done:
            self._strands.remove(strand)
            strand.life.strands.remove(strand)

    def _leave(self) -> None:
        """Hand over to the director; come back when it is this strand's turn."""
        strand = self.current
        assert strand is not None
        self._director.switch()
        self.check_alive()

    def _let_time_pass(self) -> None:
        moments = [strand.wakes_at for strand in self._strands if strand.wakes_at is not None]
        moments += [process.starts_at for process in self.processes if process.starts_at is not None]
        if not moments:
            raise Broken("every thread waits for another")
        self.now = max(self.now, min(moments))

    def _bury(self) -> None:
        """Unwind what was killed: its connections and files are closed, as a kernel would."""
        if not any(process.dying for process in self.processes):
            return
        for strand in [strand for strand in self._strands if strand.life.is_dead]:
            self._strands.remove(strand)
            if strand.run:  # has begun and has not ended
                self.current = strand
                strand.run.throw(Killed)
                self.current = None
        for process in self.processes:
            for life in process.dying:
                for end in life.on_death:
                    end()
            process.dying.clear()


def _may_go_on(strand: Strand, now: float) -> bool:
    if strand.wakes_at is not None and strand.wakes_at <= now:
        return True
    return strand.is_ready is not None and strand.is_ready()
