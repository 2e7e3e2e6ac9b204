"""Several servers, workers and gateways on one PostgreSQL, each a process of its own that may be killed alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loopwright.config import Settings, load_settings
from loopwright.server.supervisor import Supervisor
from tests.servers import free_port
from tests.waiting import wait_until

SERVICE_TOKEN = "lws_of_the_cluster"


def revive(platform: Supervisor, role: str) -> None:
    """Return once a supervisor has started a process again that was killed, as it does when it watches."""
    killed = platform.pid(role)
    wait_until(lambda: platform.look() or platform.pid(role) != killed)


@dataclass
class Node:
    """One process and what starts it again."""

    role: str
    platform: Supervisor

    def kill(self) -> None:
        """End it with kill -9."""
        self.platform.kill(self.role)

    def revive(self) -> None:
        """Have it started again; it is not waited for until it answers."""
        revive(self.platform, self.role)


class Cluster:
    """Processes that share a database and a blob store.

    Each server has a folder of its own. Workers and gateways share one, for the online store lies in it.

    Args:
        folder: Of everything on the disk.
        database_url: A PostgreSQL.
        source_roots: Folders that datasets may be read from.
    """

    def __init__(self, folder: Path, database_url: str, source_roots: tuple[Path, ...]) -> None:
        self._folder = folder
        shared = msgspec.structs.replace(
            load_settings(folder / "plane"),
            database_url=database_url,
            blobs_url=str(folder / "blobs"),
            checkpoints_url=str(folder / "checkpoints"),
            service_token=SERVICE_TOKEN,
            source_roots=source_roots,
            user_folders=source_roots[:1],
            slots={"looks": 1, "work": 1, "training": 1},
        )
        self._shared = shared
        self._server_ports = [free_port() for _ in range(3)]
        self.server_urls = [f"http://127.0.0.1:{port}" for port in self._server_ports]
        self.gateway_urls: list[str] = []
        self.nodes: dict[str, Node] = {}

    @property
    def settings(self) -> Settings:
        """Settings that lead to database and blobs."""
        return self._shared

    def start(self, workers: int = 2, gateways: int = 2) -> None:
        """Start the servers, then who asks them."""
        for number, port in enumerate(self._server_ports, 1):
            self._start("server", number, state_dir=self._folder / f"server-{number}", port=port)
        where = ",".join(self.server_urls)
        for number in range(1, workers + 1):
            self._start("worker", number, url=where)
        for number in range(1, gateways + 1):
            port = free_port()
            self.gateway_urls.append(f"http://127.0.0.1:{port}")
            self._start("gateway", number, url=where, gateway_port=port, gateway_name=str(number))

    def stop(self) -> None:
        """End every process, the servers last."""
        for node in reversed(self.nodes.values()):
            node.platform.stop()

    def _start(self, role: str, number: int, **changes: object) -> None:
        platform = Supervisor(msgspec.structs.replace(self._shared, **changes), (role,))
        self.nodes[f"{role}-{number}"] = Node(role, platform)
        platform.start()


@contextmanager
def running_cluster(folder: Path, database_url: str, source_roots: tuple[Path, ...]) -> Iterator[Cluster]:
    """Run three servers, two workers and two gateways for the length of a block."""
    made = Cluster(folder, database_url, source_roots)
    try:
        made.start()
        yield made
    finally:
        made.stop()
