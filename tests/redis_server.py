"""A Redis for tests: the machine's own ``redis-server``, on a free port, behind a password, without a disk."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until

PASSWORD = "sesame"


@contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[str]:
    """Run a Redis and yield its address; skip where none is installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no Redis is installed (make redis)")
    redis = pytest.importorskip("redis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
    with subprocess.Popen(
        [program, *settings, "--dir", str(folder), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        client = redis.Redis.from_url(url)
        wait_until(lambda: answers(client))
        client.close()
        try:
            yield url
        finally:
            process.kill()


def answers(client: Any) -> bool:
    """Say whether a Redis is up."""
    try:
        return bool(client.ping())
    except OSError:
        return False
    except Exception as error:  # noqa: BLE001 - the library's own kinds are no OSError
        return "Connection" not in type(error).__name__ and "Busy" not in type(error).__name__


def picture_of(url: str) -> dict[bytes, bytes]:
    """Return all that a Redis holds, as it puts it on its disk."""
    import redis

    with redis.Redis.from_url(url) as client:
        return {key: client.dump(key) for key in client.scan_iter()}


def comes_back(url: str, picture: dict[bytes, bytes]) -> None:
    """Let a Redis hold what it held when a picture was made of it, and nothing else."""
    import redis

    with redis.Redis.from_url(url) as client:
        client.flushall()
        for key, value in picture.items():
            client.restore(key, 0, value)
