"""A gateway without HTTP and children: the real parts read rows, spool them before they are answered, and seal them."""

from pathlib import Path
from typing import Any

import msgspec

from loopwright.gateway import process
from loopwright.gateway.log.batches import StreamKey
from loopwright.gateway.log.sealing import ChunkSealer
from loopwright.gateway.log.spool import Spool
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.taking.ingest import Labels, read_external, read_labels
from loopwright.kernel.clock import WallClock
from loopwright.kernel.errors import LoopwrightError
from loopwright.server.answers import error_answer
from loopwright.store.blobs import open_blob_store
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import VerbCaller
from loopwright.wire.credentials import gateway_token
from loopwright.wire.line import Answer, ServiceLine
from tests.simulation.disk import Disk
from tests.simulation.ledger import Ledger
from tests.simulation.network import Request
from tests.simulation.processes import SERVERS, SERVICE_TOKEN
from tests.simulation.scheduler import Life, Simulation


class GatewaySeat:
    """One gateway after another on one folder.

    Args:
        root: Its folder.
        blobs: Where chunks go.
        disk: Where both are.
        ledger: Where each try to take rows is noted.
        is_durable: Rows are answered only when the disk has confirmed them, so that they outlast a power cut.
    """

    def __init__(self, root: Path, blobs: str, disk: Disk, ledger: Ledger, *, is_durable: bool) -> None:
        self._ledger = ledger
        self.root, self.is_durable, self._blobs, self._disk = root, is_durable, blobs, disk
        self._credential = gateway_token(SERVICE_TOKEN, f"http://{root.name}")
        root.mkdir(parents=True)

    def begin(self, life: Life) -> None:
        """Recover the spool, begin sealing, listen."""
        clock = WallClock()
        writer = process._writer(self.root, clock)
        control = VerbCaller(Addresses(SERVERS), ServiceLine(self._credential), timeout_s=process.CONTROL_TIMEOUT_S)
        spool = Spool(self.root / "spool")
        sealer = ChunkSealer(
            spool, open_blob_store(self._blobs), control, writer, lambda: process._new_writer(self.root, clock)
        )
        sealer.start()
        life.answers = lambda request: self._answer(life.simulation, spool, sealer, request)

    def cut_power(self, life: Life) -> None:
        """End it with its machine."""
        life.simulation.kill(life, "as the power goes")
        life.on_death.append(lambda: self._disk.cut_power(self.root))

    def left(self) -> list[str]:
        """Return the segments that hold rows which are in no chunk."""
        segments = sorted((self.root / "spool").glob("*/*/*/*"))
        return [str(path.relative_to(self.root)) for path in segments if path.stat().st_size]

    def _answer(self, simulation: Simulation, spool: Spool, sealer: ChunkSealer, request: Request) -> Answer:
        try:
            if request.path.endswith("/seal"):
                return Answer(200, msgspec.json.encode(sealer.seal().result()))
            return Answer(200, msgspec.json.encode(self._take(simulation, spool, sealer, request)))
        except LoopwrightError as error:
            refusal = error_answer(error)
            return Answer(refusal.status_code, bytes(refusal.body))
        except OSError as error:
            return Answer(503, msgspec.json.encode({"error": {"code": "unavailable", "message": str(error)}}))

    def _take(self, simulation: Simulation, spool: Spool, sealer: ChunkSealer, request: Request) -> dict[str, int]:
        _, _, project, kind, stream = request.path.split("/")
        rows, stamp = msgspec.json.decode(request.body)["rows"], Stamp.now(simulation.wall_us)
        if kind == "labels":
            _, batch = read_labels(rows, stamp, is_replay=False, wanted=Labels("binary"))
        else:
            batch = read_external(rows, stamp, is_replay=False)
        key = StreamKey(project, kind, stream)
        self._ledger.tries[_number_of(rows)] += 1
        ticket = spool.append(key, [batch])
        sealer.nudge(key)
        if self.is_durable:
            self._wait_until_durable(simulation, spool, ticket)
        return {"taken": len(rows)}

    def _wait_until_durable(self, simulation: Simulation, spool: Spool, ticket: int) -> None:
        outcome: list[Exception | None] = []
        spool.when_durable(ticket, outcome.append)
        simulation.wait(None, lambda: bool(outcome))
        if outcome[0] is not None:
            raise outcome[0]


def rows_of(kind: str, number: int, count: int, at_us: int) -> list[dict[str, Any]]:
    """Return rows whose ids say which request they came with."""
    ids = [f"{kind}-{number}-{place}" for place in range(count)]
    if kind == "labels":
        return [{"prediction_id": id, "label": 1, "event_at": at_us} for id in ids]
    return [{"id": id, "score": 0.5, "event_at": at_us, "features": {"x": number}} for id in ids]


def _number_of(rows: list[dict[str, Any]]) -> int:
    first = rows[0]
    return int(first.get("prediction_id", first.get("id", "")).split("-")[1])
