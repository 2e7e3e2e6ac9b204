"""A NATS with JetStream for tests: the server that its wheel brings, on a free port."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port
from tests.waiting import wait_until


@contextmanager
def running_nats(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run a NATS and yield its address; what it keeps stays in the folder."""
    port = port or free_port()
    program = Path(sys.executable).parent / "nats-server"
    command = [str(program), "-js", "-sd", str(folder), "-a", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(port))
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.kill()


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
