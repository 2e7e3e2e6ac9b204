"""One history: processes start, clients ask, faults come; then faults cease and everything must come to rest, right."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.store.blobs import open_blob_store
from tests.databases import open_sqlite
from tests.simulation import weather
from tests.simulation.clients import PROJECT, Client
from tests.simulation.disk import Disk
from tests.simulation.gateway import GatewaySeat
from tests.simulation.invariants import Log, check, missing_from_chunks
from tests.simulation.ledger import Ledger
from tests.simulation.network import Network
from tests.simulation.processes import Server, WorkerSeat, edges_replaced, ends_with_errors
from tests.simulation.scheduler import START_US, Broken, Life, Process, Simulation
from tests.simulation.work import Calls, declared, plan_tick

FAULTS_S = 25.0
"""How long faults come, of virtual time."""
REST_S = 3000.0
"""How long everything may then take to come to rest."""
JUMPS_S = (-60.0, -3.0, 3.0, 15.0, 60.0)


@dataclass
class History:
    """How one seed went."""

    seed: int
    lines: list[str]
    digest: str
    broken: list[str] = field(default_factory=list)

    def told(self, last: int = 60) -> str:
        """Return what a person needs to look into it."""
        replay = f"replay it: make simulate SEED={self.seed}"
        return "\n".join([f"seed {self.seed} breaks:", *self.broken, replay, *self.lines[-last:]])


class _Notes(logging.Handler):
    """Writes what processes log into the trace, without what another run would call otherwise."""

    def __init__(self, simulation: Simulation, folder: Path) -> None:
        super().__init__(logging.WARNING)
        self._simulation, self._folder = simulation, str(folder)

    def emit(self, record: logging.LogRecord) -> None:
        if self._simulation.current is not None:
            message = record.getMessage().replace(self._folder, "").splitlines()[0]
            why = f": {record.exc_info[1]!r}" if record.exc_info else ""
            self._simulation.note(f"{self._simulation.current.life.name} logs: {message}{why}"[:200])


@contextmanager
def noted(simulation: Simulation, folder: Path) -> Iterator[None]:
    """Have what the platform logs go into the trace, and nowhere else."""
    logger, notes = logging.getLogger("loopwright"), _Notes(simulation, folder)
    logger.addHandler(notes)
    was_passed_on, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = was_passed_on
        logger.removeHandler(notes)


class World:
    """The platform of one history.

    Args:
        seed: What everything follows from.
        folder: Empty; where its files are.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.simulation = Simulation(seed)
        self.folder, self.ledger = folder, Ledger()
        self.network = Network(self.simulation)
        self.file = folder / "loopwright.db"
        self.log = Log(self.file)
        chance = self.simulation.chance
        self.servers = [Server(folder) for _ in range(chance.choice((1, 1, 2)))]
        self.seats = [WorkerSeat(folder, str(folder / "blobs")) for _ in range(chance.choice((1, 2)))]
        self.disk = Disk(self.simulation)
        self.gateways = [self._gateway(number, is_durable=chance.random() < 0.5) for number in (1, 2)]
        self.clients = [Client(self.simulation, self.ledger, chance.randint(6, 16), number) for number in (1, 2)]
        self.ledger.on_sealed = self._look_for_sealed
        self._add("server", [server.begin for server in self.servers])
        self._add("worker", [seat.begin for seat in self.seats])
        for number, gateway in enumerate(self.gateways, 1):
            self._add(f"gateway-{number}", [gateway.begin])
        self._add("client", [client.begin for client in self.clients])

    def _gateway(self, number: int, *, is_durable: bool) -> GatewaySeat:
        root, blobs = self.folder / f"gateway-{number}", str(self.folder / "blobs")
        return GatewaySeat(root, blobs, self.disk, self.ledger, is_durable=is_durable)

    def _add(self, kind: str, begins: list[Callable[[Life], None]]) -> None:
        for number, begin in enumerate(begins, 1):
            process = Process(self.simulation, kind if "-" in kind else f"{kind}-{number}", ends_with_errors(begin))
            process.starts_at = self.simulation.now + self.simulation.chance.random()
            self.simulation.processes.append(process)
            self.network.processes[process.name] = process

    def play(self) -> History:
        """Let everything happen; return how it went."""
        simulation = self.simulation
        edges = edges_replaced(simulation, self.network)
        with edges, self.disk.in_place(), noted(simulation, self.folder), declared(simulation) as calls:
            self._found(calls)
            try:
                simulation.rates = weather.draw(simulation.chance)
                simulation.note(f"weather: {', '.join(sorted(simulation.rates))}")
                self._run(FAULTS_S, lambda: False)
                simulation.rates = {}
                simulation.note("faults cease")
                if not self._run(REST_S, lambda: not self._unrest()):
                    raise Broken("the platform does not come to rest")
            except Broken as error:
                simulation.broken += [str(error), f"still to come: {self._unrest()}"]
            else:
                simulation.note("everything is at rest")
                simulation.broken += check(self.log, self.ledger, open_blob_store(str(self.folder / "blobs")))
            finally:
                self._end()
        return History(simulation.seed, simulation.lines, simulation.digest(), simulation.broken)

    def _found(self, calls: Calls) -> None:
        """Make the database and the project, and plan the first tick."""
        database = open_sqlite(self.file)
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute("PRAGMA synchronous=OFF")
        dispatcher = Dispatcher(database, FixedClock(START_US))
        with database.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            arguments = {"name": PROJECT, "owner": "ops"}
            from loopwright.governance import projects

            projects.create(dispatcher.tx(connection, SYSTEM, LOCAL_ACTOR), **arguments)
            plan_tick(dispatcher.tx(connection, PROJECT, LOCAL_ACTOR), due_at=START_US + 1_000_000_000)
            connection.commit()
        database.engine.dispose()

    def _run(self, seconds: float, is_over: Callable[[], bool]) -> bool:
        """Have strands go on until something is so, looked at every second; say whether it is."""
        simulation = self.simulation
        until = simulation.now + seconds
        look_at = simulation.now
        while simulation.now < until:
            simulation.step()
            if simulation.now >= look_at:
                look_at = simulation.now + 1.0
                self.log.look()
                self._strike()
                if is_over():
                    return True
        return False

    def _strike(self) -> None:
        """Let come what comes from outside of any process."""
        simulation = self.simulation
        if simulation.draws("director.kill"):
            lives = [process.life for process in simulation.processes if not process.name.startswith("client")]
            alive = [life for life in lives if life is not None]
            if alive:
                simulation.kill(simulation.chance.choice(alive), "from outside")
        if simulation.draws("director.power"):
            number = simulation.chance.choice((0, 1))
            life = self.network.processes[f"gateway-{number + 1}"].life
            if life is not None and self.gateways[number].is_durable:
                self.gateways[number].cut_power(life)
        if simulation.draws("director.drain"):
            seat = simulation.chance.choice(self.seats)
            if seat.worker is not None:
                simulation.note("a worker is asked to stop")
                seat.worker.stop()
        if simulation.draws("director.jump"):
            jump_s = simulation.chance.choice(JUMPS_S)
            simulation.note(f"the clock jumps by {jump_s:g} s")
            simulation.wall_jump_us += int(jump_s * 1e6)

    def _look_for_sealed(self, numbers: list[int]) -> None:
        blobs = open_blob_store(str(self.folder / "blobs"))
        if missing := missing_from_chunks(self.log, self.ledger, numbers, blobs):
            self.simulation.broken.append(f"rows {missing} were said to be sealed and are in no chunk")

    def _unrest(self) -> list[str]:
        """Return what is still to come."""
        asking = [f"client {number} asks" for number, client in enumerate(self.clients, 1) if not client.is_done]
        spooled = [name for gateway in self.gateways for name in gateway.left()]
        positions = [server.reactor.position if server.reactor else 0 for server in self.servers]
        behind = [f"a reactor is at {position}" for position in positions if position < self.log.position]
        rows = self.log.unrest(self.simulation.wall_us)
        return [*asking, *spooled, *behind, *([rows] if rows else [])]

    def _end(self) -> None:
        for process in self.simulation.processes:
            if process.life is not None:
                self.simulation.kill(process.life, "at the end")
        self.simulation._bury()
        self.log.close()


def play(seed: int, folder: Path) -> History:
    """Play the history of a seed in an empty folder."""
    return World(seed, folder).play()
