"""Web servers on a thread of the test's process, and ports for those in processes of their own."""

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from loopwright.config import Settings
from tests.waiting import PATIENCE_S, wait_until

# Below the ports that Linux gives to outgoing connections: one of those could take the port before its server does.
_FIRST_PORT, _PORTS = 20_000, 12_000


def free_port() -> int:
    """Return a port of the loopback address that nobody has."""
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the address of an S3 server without a bucket; skips the test where there is none."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def settings_in(folder: Path, port: int, service_token: str) -> Settings:
    """Return the settings of a server that keeps all it has in a folder, whatever the environment says."""
    return Settings(
        state_dir=folder,
        database_url=f"sqlite:///{folder / 'loopwright.db'}",
        blobs_url=str(folder / "blobs"),
        host="127.0.0.1",
        port=port,
        gateway_port=0,
        url="",
        gateway_url="",
        token="",
        project="",
        service_token=service_token,
        auth="",
        durability="process",
    )


class ThreadedServer:
    """An ASGI application on a thread; may be stopped, and started again on the same port.

    Args:
        options: Settings of uvicorn beside the usual.
    """

    def __init__(self, **options: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = {"log_level": "error", "access_log": False, "lifespan": "off", **options}

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections)

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._server.should_exit

    def start(self, app: Any) -> None:
        """Answer from now on."""
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, **self._options))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started, f"port {self.port} cannot be listened on"

    def stop(self, *, at_once: bool = False) -> None:
        """Answer nothing any more; ``at_once`` drops what is under way."""
        self._server.should_exit = True
        self._server.force_exit = at_once
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
