"""The line: connections stay open, one that the other side closed is replaced, and errors keep their kind."""

import fcntl
import os
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

import pytest

from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import Conflict, Unavailable
from loopwright.wire.line import HttpLine, ServiceLine
from tests.waiting import wait_until


class Side(ThreadingHTTPServer):
    """Answers with what was sent; it counts connections, and can close each after an answer or keep a call waiting."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.closes = False
        self.refuses: dict[str, Any] | None = None
        self.moved_to = ""
        side = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                side.connections += 1
                side.open += 1

            def finish(self) -> None:
                super().finish()
                side.open -= 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/wait":
                    os.kill(os.getpid(), signal.SIGALRM)
                    return
                told = {"path": self.path, "token": self.headers["authorization"], "sent": from_json(body, object)}
                answer = to_json(told if side.refuses is None else {"error": side.refuses})
                self.send_response(308 if side.moved_to else 200 if side.refuses is None else 409)
                if side.moved_to:
                    self.send_header("location", side.moved_to)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                self.close_connection = side.closes

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def wait_for_open(self, count: int) -> None:
        wait_until(lambda: self.open == count)


@pytest.fixture
def side() -> Iterator[Side]:
    with Side() as opened:
        yield opened
        opened.shutdown()


@pytest.fixture
def line() -> Iterator[ServiceLine]:
    opened = ServiceLine("lws_x")
    yield opened
    opened.close()


def test_calls_one_after_another_share_a_connection_and_calls_at_once_do_not(side: Side, line: ServiceLine) -> None:
    for number in range(3):
        told = from_json(line.post(f"{side.url}/v1/x?wait_s=2", to_json(number)), dict[str, Any])
        assert told == {"path": "/v1/x?wait_s=2", "token": "Bearer lws_x", "sent": number}
    assert side.connections == 1
    threads = [threading.Thread(target=line.post, args=(f"{side.url}/v1/x", b"1")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= side.connections <= 8


def test_a_connection_that_the_other_side_closed_is_not_used_again(side: Side, line: ServiceLine) -> None:
    side.closes = True
    for _ in range(3):
        line.post(side.url + "/v1/x", b"1")
        side.wait_for_open(0)
    assert side.connections == 3


def has_arrived(connection: socket.socket) -> bool:
    """Say whether the other side's kernel has all that was sent."""
    unacknowledged = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    return unacknowledged == bytes(4)


def test_who_refuses_a_body_before_it_has_come_in_whole_is_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def refuse() -> None:
            peer, _ = door.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
                peer.shutdown(socket.SHUT_WR)
                wait_until(lambda: has_arrived(peer))

        threading.Thread(target=refuse, daemon=True).start()
        answer = HttpLine({}).send("POST", f"http://127.0.0.1:{door.getsockname()[1]}/x", b"x" * (64 << 20))
    assert (answer.status, answer.body) == (413, b"{}")


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", b"junk\r\n"]
)
def test_an_answer_that_is_not_whole_is_none_and_what_happened_is_said(begun: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def hang_up() -> None:
            peer, _ = door.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(begun)

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(ConnectionAbortedError) as broken:
            HttpLine({}).send("POST", f"http://127.0.0.1:{door.getsockname()[1]}/x", b"x")
    assert str(broken.value)[:1] not in ("", "("), "a sentence, not a tuple"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8400/x", "ftp://127.0.0.1/x", "http:///x", "http://127.0.0.1:port/x", "http://[::1/x"]
)
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(OSError, match=r"address|parse|host"):
        HttpLine({}).send("GET", url)


def test_a_token_that_no_header_can_hold_is_said_to_be_none(side: Side) -> None:
    for token in ("two\nlines", "žluť"):
        with pytest.raises(Unavailable):
            ServiceLine(token).post(side.url + "/v1/x", b"1")


def test_an_error_keeps_its_kind_and_silence_is_unavailable(side: Side, line: ServiceLine) -> None:
    side.refuses = Conflict("taken", field="seq", value=3).to_dict()
    with pytest.raises(Conflict, match="taken"):
        line.post(side.url + "/v1/x", b"1")
    side.refuses = {}
    url = side.url
    side.shutdown()
    side.server_close()
    line.close()
    with pytest.raises(Unavailable) as found:
        line.post(url + "/v1/x", b"1")
    assert isinstance(found.value.__cause__, ConnectionRefusedError)


def test_a_redirect_is_an_error(side: Side, line: ServiceLine) -> None:
    side.moved_to = "https://elsewhere/x"
    with pytest.raises(Unavailable, match="is elsewhere") as told:
        line.post(f"{side.url}/x", b"{}")
    assert (told.value.value, told.value.field) == (side.moved_to, "LOOPWRIGHT_URL")


def test_a_wait_that_a_signal_ends_closes_its_connection(side: Side, line: ServiceLine) -> None:
    class Stopped(BaseException):
        """Raised by the signal."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stopped):
            line.post(side.url + "/wait", b"1")
    finally:
        signal.signal(signal.SIGALRM, before)
    side.wait_for_open(0)
