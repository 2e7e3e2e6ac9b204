"""The gateway process: lock its folder, recover, load, serve, drain."""

import logging
import os
import sys
from pathlib import Path

import uvicorn

from loopwright.config import Settings, take_settings
from loopwright.gateway.access import Gatekeeper, is_loopback
from loopwright.gateway.app import Gateway, Parts
from loopwright.gateway.control import ControlPlane
from loopwright.gateway.loading import Loader
from loopwright.gateway.releases import ReleaseKeeper
from loopwright.gateway.sealing import Sealer
from loopwright.gateway.spool import Spool
from loopwright.kernel.clock import WallClock
from loopwright.kernel.errors import InvalidInput, LoopwrightError, Unavailable
from loopwright.kernel.ids import new_id
from loopwright.store.blobs import open_blob_store
from loopwright.store.folders import hold_folder
from loopwright.store.lifeline import end_with_parent

_FOLDER = "gateway-0"
_LOCK_WAIT_S = 10.0


def run(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        InvalidInput: The settings would open it to others without auth.
        Unavailable: Its folder cannot be written, or another gateway works there.
    """
    is_open = settings.auth != "on"
    if is_open and not is_loopback(settings.host):
        raise InvalidInput(
            "an open gateway may only listen on the loopback address",
            field="host",
            value=settings.host,
            rule="127.0.0.1 without auth",
            next_step="start with --auth, then create tokens",
        )
    root = settings.state_dir / _FOLDER
    with hold_folder(root / "lock", _LOCK_WAIT_S, lambda: _taken(root)):
        config = uvicorn.Config(
            make_gateway(settings, root, is_open=is_open),
            host=settings.host,
            port=settings.gateway_port,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=75,
        )
        uvicorn.Server(config).run()


def make_gateway(settings: Settings, root: Path, *, is_open: bool) -> Gateway:
    """Put the parts of a gateway together and start its threads."""
    clock = WallClock()
    blobs = open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")
    writer = _writer(root, clock)
    control = ControlPlane(_server_url(settings), _service_token(settings))
    spool = Spool(root / "spool")
    sealer = Sealer(spool, blobs, control, writer, lambda: _new_writer(root, clock))
    loader = Loader(root, blobs, str(settings.state_dir / "online.sqlite"), clock)
    address = settings.gateway_url or f"http://{settings.host}:{settings.gateway_port}"
    keeper = ReleaseKeeper(root, control, loader, writer, address)
    gatekeeper = Gatekeeper(lambda: keeper.known.tokens, _service_token(settings), is_open=is_open, clock=clock)
    is_durable = settings.durability == "power"
    parts = Parts(spool, sealer, keeper, loader, control, gatekeeper, clock, is_durable)

    def stop() -> None:
        keeper.stop()
        sealer.stop()
        spool.close()

    keeper.start()
    sealer.start()
    return Gateway(parts, stop)


def _server_url(settings: Settings) -> str:
    return settings.url or f"http://{settings.host}:{settings.port}"


def _service_token(settings: Settings) -> str:
    place = settings.state_dir / "service.token"
    if not settings.service_token and place.exists():
        return place.read_text().strip()
    return settings.service_token


def _writer(root: Path, clock: WallClock) -> str:
    """Return this spool's name, by which its chunks are known."""
    place = root / "writer.id"
    return place.read_text().strip() if place.exists() else _new_writer(root, clock)


def _new_writer(root: Path, clock: WallClock) -> str:
    place = root / "writer.id"
    draft = place.with_suffix(".tmp")
    name = new_id("gw", clock.now_us())
    draft.write_text(name)
    draft.replace(place)
    return name


def _taken(root: Path) -> Unavailable:
    return Unavailable(
        "another gateway works on this folder", value=str(root), next_step="stop it, or set LOOPWRIGHT_STATE"
    )


def main() -> None:
    """Entry point of ``python -m loopwright.gateway``."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = take_settings()
    if settings.is_supervised:
        end_with_parent()
    try:
        run(settings)
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(2)
