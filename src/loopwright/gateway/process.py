"""The gateway process: lock its folder, recover, load, serve, drain."""

import logging
import os
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvicorn

from loopwright.config import Settings, read_addresses
from loopwright.features import online
from loopwright.gateway.access import Gatekeeper
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.children.surroundings import Place
from loopwright.gateway.denials import Denials
from loopwright.gateway.http import Gateway
from loopwright.gateway.log.journal import Journal
from loopwright.gateway.log.sealing import ChunkSealer
from loopwright.gateway.log.spool import Spool
from loopwright.gateway.metrics import Metrics
from loopwright.gateway.once import Once
from loopwright.gateway.releases.bars import Bars
from loopwright.gateway.releases.files import ReleaseFiles
from loopwright.gateway.releases.keeper import ReleaseKeeper
from loopwright.gateway.releases.launching import Launcher
from loopwright.gateway.releases.leftovers import let_go, let_go_of_spools
from loopwright.gateway.releases.loading import Loader
from loopwright.gateway.service import Parts, Service
from loopwright.gateway.signs import child_signs, disk_signs, spool_signs
from loopwright.gateway.storewatch import StoreWatch
from loopwright.gateway.topics.topics import Topics
from loopwright.gateway.troubles import Troubles
from loopwright.gateway.watchdog import Watchdog
from loopwright.kernel.clock import WallClock
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.ids import new_id
from loopwright.pipelines import Enclosure
from loopwright.store.blobs import open_blob_store
from loopwright.store.blobs.local import sync_folder
from loopwright.wire.addresses import Addresses, base_url
from loopwright.wire.caller import VerbCaller
from loopwright.wire.credentials import gateway_token
from loopwright.wire.enclosing import check_walls
from loopwright.wire.exposure import may_run_open
from loopwright.wire.folders import hold_folder
from loopwright.wire.line import ServiceLine
from loopwright.wire.process import run_process
from loopwright.wire.web import uvicorn_config

log = logging.getLogger("loopwright.gateway")
_LOCK_WAIT_S = 10.0
CONTROL_TIMEOUT_S = 10.0
"""Longest silence of the server before a call of the gateway has failed."""


def run(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        InvalidInput: The settings would open it to others without auth.
        Unavailable: Its folder cannot be written, or another gateway works there.
    """
    is_open = may_run_open(settings, "gateway")
    if missing := check_walls(settings.walls):
        log.warning("%s", missing)
    root = gateway_folder(settings)
    with hold_gateway(root, _LOCK_WAIT_S):
        app = make_gateway(settings, root, is_open=is_open)
        config = uvicorn_config(app, settings.host, settings.gateway_port)
        uvicorn.Server(config).run()


def gateway_folder(settings: Settings) -> Path:
    """Return where this gateway keeps what is its own; several on one machine have names that differ."""
    return settings.state_dir / f"gateway-{settings.gateway_name}"


def hold_gateway(root: Path, wait_s: float) -> AbstractContextManager[None]:
    """Hold a gateway's folder, which one process at a time may work on.

    Raises:
        Unavailable: Another gateway works there, or the folder cannot be written.
    """
    return hold_folder(root / "lock", wait_s, lambda: _taken(root))


def make_gateway(settings: Settings, root: Path, *, is_open: bool) -> Gateway:
    """Put the parts of a gateway together; what it has on its disk is recovered."""
    clock = WallClock()
    metrics = Metrics()
    watchdog = Watchdog(root)
    bars = Bars(root / "barred.json")
    watchdog.learn(bars)
    watchdog.guard()
    blobs = open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")
    writer = _writer(root, clock)
    address = settings.gateway_url or base_url(settings.host, settings.gateway_port)
    credential = gateway_token(_service_token(settings), address)
    control = VerbCaller(_servers(settings), ServiceLine(credential), timeout_s=CONTROL_TIMEOUT_S)
    let_go_of_spools(root)
    spool = Spool(root / "spool")
    sealer = ChunkSealer(spool, blobs, control, writer, lambda: _new_writer(root, clock))
    journal = Journal(spool, sealer, is_durable=settings.durability == "power")
    online.part_projects(settings.state_dir)
    enclosure = Enclosure.of(settings)
    stores = online.OnlineStores(settings.state_dir, settings.online_url, is_walled=enclosure is not None)
    files, nursery, loader = ReleaseFiles(root, blobs), Nursery(root / "scratch"), Loader(root, clock)
    place = Place(root, stores, enclosure)
    launcher = Launcher(files, nursery, place, loader, bars, watchdog.page, journal, metrics)
    troubles, denials = Troubles(clock), Denials(clock)
    forget = partial(let_go, root, stores)
    keeper = ReleaseKeeper(
        root, control, launcher, writer, address, lambda: watchdog.is_turning, troubles.look, forget, denials.send
    )
    watch = StoreWatch(root / "held-views.json", keeper.releases, stores, lambda: keeper.known)
    troubles.watch(
        lambda: disk_signs(spool), lambda: spool_signs(spool, sealer), watch.signs, lambda: child_signs(keeper.served)
    )
    keeper.recover()
    gatekeeper = Gatekeeper(lambda: keeper.known.tokens, credential, is_open=is_open, clock=clock, rate=settings.rate)
    service = Service(
        Parts(spool, sealer, journal, keeper, files, control, clock, metrics, nursery, place, troubles, watch)
    )
    topics = Topics(read_addresses(settings.sources), lambda: keeper.known, service.push, writer, clock.now_us)
    troubles.watch(topics.signs)
    metrics.watch(service.gauges())
    metrics.watch_troubles(troubles.counts)
    life = GatewayLife(service, launcher, keeper, sealer, spool, nursery, watchdog, topics)
    return Gateway(service, gatekeeper, metrics, life, Once(clock), denials)


class GatewayLife(NamedTuple):
    """What of a gateway begins and ends with the event loop."""

    service: Service
    launcher: Launcher
    keeper: ReleaseKeeper
    sealer: ChunkSealer
    spool: Spool
    nursery: Nursery
    watchdog: Watchdog
    topics: Topics

    def begin(self) -> None:
        """Launch releases, follow the server and seal, all beside the requests that come."""
        self.watchdog.watch()
        self.launcher.open()
        self.keeper.start()
        self.sealer.start()
        self.topics.start()

    async def end(self) -> None:
        """Finish what is owed and let go of everything."""
        self.keeper.stop()
        await self.topics.close()
        await self.service.close()
        self.nursery.close()
        self.watchdog.stop()
        self.sealer.stop()
        self.spool.close()


def _servers(settings: Settings) -> Addresses:
    return Addresses(settings.url or base_url(settings.host, settings.port))


def _service_token(settings: Settings) -> str:
    path = settings.state_dir / "service.token"
    if not settings.service_token and path.exists():
        return path.read_text().strip()
    return settings.service_token


def _writer(root: Path, clock: WallClock) -> str:
    """Return this spool's name, by which its chunks are known."""
    path = root / "writer.id"
    name = path.read_text().strip() if path.exists() else ""
    if not name:
        return _new_writer(root, clock)
    sync_folder(root)  # the life that gave the name may have ended before
    return name


def _new_writer(root: Path, clock: WallClock) -> str:
    """Give this spool a name; return it once it outlasts a power cut.

    Under another name its segments would be other chunks, and those that are registered already would count twice.
    """
    path = root / "writer.id"
    draft = path.with_suffix(".tmp")
    name = new_id("gw", clock.now_us())
    with draft.open("w") as file:
        file.write(name)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(root)
    return name


def _taken(root: Path) -> Unavailable:
    next_step = "stop it, or give this one a name of its own: up --role gateway --gateway-name 1 --gateway-port 8402"
    return Unavailable("another gateway works on this folder", value=str(root), next_step=next_step)


def main() -> None:
    """Entry point of ``python -m loopwright.gateway``."""
    run_process(run, logging.WARNING)
