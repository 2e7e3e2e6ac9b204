"""Calls outlast a server that is down; one that takes them and never answers is not asked for ever."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from loopwright.governance import projects
from loopwright.kernel.errors import Unavailable
from loopwright.store.work import Stopped
from loopwright.worker.calling import MOST_SLOW, ServerCaller


class Listener:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        for each in [self.socket, *self.taken]:
            each.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.close()


def caller(port: int) -> ServerCaller:
    made = ServerCaller(f"http://127.0.0.1:{port}", "lws_test")
    made._server = replace(made._server, timeout_s=0.2)
    return made


def test_a_call_that_is_taken_and_not_answered_is_asked_a_few_times_only(listener: Listener) -> None:
    slow = caller(listener.socket.getsockname()[1])
    with pytest.raises(Unavailable):
        slow.call(projects.list_projects, "_system", lambda: False)
    assert len(listener.taken) == MOST_SLOW


def test_a_call_that_nobody_takes_is_repeated_while_it_is_wanted(listener: Listener) -> None:
    port = listener.socket.getsockname()[1]
    listener.close()
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(Stopped):
        caller(port).call(projects.list_projects, "_system", should_stop)
    assert len(asked) == 6
