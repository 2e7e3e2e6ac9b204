"""Requests between processes: they may be lost, come twice or late, and so may their answers."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from loopwright.wire.line import TIMEOUT_S, Answer
from tests.simulation.scheduler import Life, Process, Simulation


class Request(NamedTuple):
    """What reaches a process."""

    path: str
    query: str
    body: bytes
    headers: dict[str, str]


class Network:
    """Carries requests to the processes whose names are hosts of their addresses."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.processes: dict[str, Process] = {}

    def send(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Answer:
        """Send a request once.

        Raises:
            TimeoutError, ConnectionRefusedError, OSError: As ``HttpLine.send``.
        """
        simulation, address = self.simulation, urlsplit(url)
        simulation.check_alive()
        request = Request(address.path, address.query, body, headers)
        life = self._living(str(address.hostname))
        simulation.pause()
        if simulation.draws("network.lost"):
            simulation.note(f"a request to {life.name} is lost")
            self._lose(timeout_s)
        if "gateway" not in life.name and simulation.draws("network.twice"):
            simulation.note(f"a request to {life.name} comes twice")
            self._answer(life, request, simulation.chance.choice((0.0, 0.5, 15.0)))
        answers = self._answer(life, request, 0.0)
        is_answered = simulation.wait(timeout_s, lambda: bool(answers) or life.is_dead)
        if not is_answered:
            raise TimeoutError("no answer in time")
        if not answers:
            raise ConnectionResetError("the other side hung up")
        if simulation.draws("network.answer_lost"):
            simulation.note(f"an answer of {life.name} is lost")
            self._lose(timeout_s)
        return answers[0]

    def _living(self, host: str) -> Life:
        life = self.processes[host].life if host in self.processes else None
        if life is None or life.is_dead or life.answers is None:
            raise ConnectionRefusedError(f"nobody listens at {host}")
        return life

    def _lose(self, timeout_s: float) -> None:
        if self.simulation.chance.random() < 0.2:
            self.simulation.wait(timeout_s)
            raise TimeoutError("no answer in time")
        raise ConnectionResetError("the connection broke")

    def _answer(self, life: Life, request: Request, after_s: float) -> list[Answer]:
        answers: list[Answer] = []

        def answer() -> None:
            if after_s:
                self.simulation.wait(after_s)
            assert life.answers is not None
            answers.append(life.answers(request))

        self.simulation.spawn(life, f"answer {request.path.rsplit('/', 1)[-1]}", answer)
        return answers


def line_of(network: Network) -> type:
    """Return what stands for ``HttpLine`` on this network."""

    class Line:
        def __init__(self, headers: Mapping[str, str]) -> None:
            self._headers = dict(headers)

        def send(
            self,
            _method: str,
            url: str,
            body: bytes = b"",
            *,
            headers: Mapping[str, str] | None = None,
            timeout_s: float = TIMEOUT_S,
        ) -> Answer:
            return network.send(url, body, {**self._headers, **(headers or {})}, timeout_s)

        def close(self) -> None:
            """Nothing is kept open."""

    return Line
