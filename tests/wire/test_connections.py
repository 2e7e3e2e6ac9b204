"""Limits on connections: what a stranger sends costs nothing, however much and however slowly it comes."""

import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from loopwright.wire import connections
from loopwright.wire.connections import LimitedProtocol
from tests.servers import ThreadedServer
from tests.waiting import PATIENCE_S, wait_until


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer how long the body was; what is asked to be long is long, and of heads their names are answered."""
    size, message = 0, {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        size += len(message.get("body", b""))
    body = b"x" * (64 << 20) if scope["path"] == "/long" else str(size).encode()
    if scope["path"] == "/heads":
        body = b" ".join(name for name, _ in scope["headers"])
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    server = ThreadedServer(http=LimitedProtocol)
    server.start(echo)
    yield server
    server.stop(at_once=True)


def raw(server: ThreadedServer, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send pieces and return everything that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as line:
        for piece in pieces:
            try:
                line.sendall(piece)
            except OSError:
                break
            time.sleep(pause_s)
        answer = b""
        try:
            while piece := line.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def test_ordinary_requests_pass(server: ThreadedServer) -> None:
    with httpx.Client(base_url=server.url) as client:
        for size in (0, 10, 100_000, 260_000, 5_000_000):
            assert client.post("/", content=b"x" * size).text == str(size)
        assert client.get("/", headers={"x-long": "y" * 20_000}).text == "0"
        assert client.post("/", content=iter([b"ab", b"c" * 300_000])).text == "300002"


def test_requests_that_share_a_piece_are_all_answered(server: ThreadedServer) -> None:
    one = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000
    last = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    answer = raw(server, one * 3 + last)
    assert answer.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize(
    "head",
    [
        b"x: " + b"y" * 1_000_000,
        b"x" * 1_000_000,
        b"".join(b"x%d: y\r\n" % number for number in range(101)) + b"\r\n",
        b"x: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
    ids=["one that never ends", "a name", "many", "long"],
)
def test_a_head_that_is_too_long_is_cut_off(server: ThreadedServer, head: bytes) -> None:
    assert raw(server, b"GET / HTTP/1.1\r\nhost: a\r\n" + head).startswith(b"HTTP/1.1 431 ")
    assert raw(server, b"GET /" + b"y" * 1_000_000).startswith(b"HTTP/1.1 431 ")
    assert httpx.get(server.url).text == "0"


CHUNKED = b"POST /heads HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\n", CHUNKED + b"0\r\nx: ", CHUNKED + b"0\r\n", CHUNKED + b"2;x="],
    ids=["a head", "a trailer", "the name of a trailer", "an extension of a chunk"],
)
def test_what_is_huge_beside_a_body_costs_next_to_nothing(server: ThreadedServer, start: bytes) -> None:
    piece = b"y" * 60_000
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as line:
        line.sendall(start)
        sent = 0
        try:
            while sent < 100_000_000:
                sent += line.send(piece)
        except OSError:
            pass
    assert sent < 20_000_000, "no more than lies in buffers on the way"
    assert httpx.get(server.url, timeout=PATIENCE_S).text == "0"


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"GET / HT",), b"408"),
        ((b"\r\n", b"\r\n"), b"408"),
        ((b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc",), b"408"),
        ((b"",), b"408"),
    ],
    ids=["head", "blank lines", "body", "nothing"],
)
def test_whoever_is_slow_is_cut_off(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], status: bytes
) -> None:
    for name in ("HEAD_S", "FIRST_BYTE_S", "BODY_S"):
        monkeypatch.setattr(connections, name, 0.2)
    assert raw(server, *pieces).startswith(b"HTTP/1.1 " + status)


def test_a_body_that_comes_fast_enough_may_take_its_time(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_S", 0.2)
    monkeypatch.setattr(connections, "BODY_BYTES_A_SECOND", 1)  # so that each piece is worth more than any pause
    head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 80000\r\n\r\n"
    piece = b"x" * 8000
    assert raw(server, head + piece, *[piece] * 9, pause_s=0.1).endswith(b"80000")


def test_an_answer_that_nobody_reads_ends(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.2)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n")
        wait_until(lambda: line.recv(1))  # it has begun, and is longer than what lies in buffers on the way
        wait_until(lambda: not server.connections)
        line.settimeout(PATIENCE_S)
        came = b"".join(iter(lambda: line.recv(1 << 20), b""))
    head, _, body = came.partition(b"\r\n\r\n")
    declared = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert len(body) < declared  # cut off, so that no reader takes it for the whole answer


def test_more_connections_than_may_be_are_told_to_come_back(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(connections, "FIRST_BYTE_S", 10 * PATIENCE_S)
    lines = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
    wait_until(lambda: server.connections == 2)
    assert b"retry-after: 1" in raw(server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    for line in lines:
        line.close()
    wait_until(lambda: not server.connections)
    assert httpx.get(server.url, timeout=PATIENCE_S).text == "0"


@pytest.mark.parametrize("start", [b"nonsense\r\n\r\n", b"GET http://[/ HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
def test_what_is_no_http_is_told_so(server: ThreadedServer, start: bytes) -> None:
    assert raw(server, start).startswith(b"HTTP/1.1 400 ")
    assert httpx.get(server.url).text == "0"


def test_trailers_are_no_headers(server: ThreadedServer) -> None:
    """A proxy looks at headers and lets trailers pass: one that named a caller would go round what it keeps out."""
    answer = raw(server, CHUNKED + b"2\r\nab\r\n0\r\nauthorization: Bearer x\r\nx-trailer: y\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nhost connection transfer-encoding")


@pytest.mark.parametrize("name", [b"Host", b"Authorization", b"Origin", b"Idempotency-Key"])
def test_a_header_that_says_who_asks_comes_once(server: ThreadedServer, name: bytes) -> None:
    """Who reads the first and who reads the last would take the request for two different ones."""
    head = b"GET / HTTP/1.1\r\nx: y\r\n" + name + b": a\r\n" + name.lower() + b": b\r\n\r\n"
    answer = raw(server, head)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert name.lower() in answer


@pytest.mark.parametrize(
    ("framing", "body", "size"),
    [
        (b"content-length: 3\r\n", b"abc", b"3"),
        (b"transfer-encoding: chunked\r\n", b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", b"5"),
        (b"content-length: 34\r\n", b"GET /heads HTTP/1.1\r\nhost: evil\r\n\r\n"[:34], b"34"),
        (b"content-length: 0\r\n", b"", b"0"),
        (b"", b"", b"0"),
    ],
)
@pytest.mark.parametrize("is_in_pieces", [False, True])
def test_who_asks_for_another_protocol_is_answered_in_this_one(
    server: ThreadedServer, framing: bytes, body: bytes, size: bytes, is_in_pieces: bool
) -> None:
    """Java's client asks for HTTP/2 with its first request, whatever that brings; a body is no request after it."""
    one = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n" + framing + b"\r\n" + body
    sent = one * 2 + b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    answer = raw(server, *([bytes([byte]) for byte in sent] if is_in_pieces else [sent]))
    assert answer.count(b"HTTP/1.1 200") == 3
    assert [part.partition(b"HTTP")[0] for part in answer.split(b"\r\n\r\n")[1:]] == [size, size, b"0"]


def test_only_so_many_requests_wait_on_one_connection(server: ThreadedServer) -> None:
    """A piece holds thousands of small ones, and each costs memory and time until its turn comes."""
    answer = raw(server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 5_000)
    assert 0 < answer.count(b"HTTP/1.1 200") <= connections.MOST_PIPELINED + 2
    assert httpx.get(server.url).text == "0"


def test_what_is_wrong_behind_a_request_takes_no_answer_of_it(server: ThreadedServer) -> None:
    answer = raw(server, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc" + b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\n\r\n3" in answer


def test_whoever_hangs_up_fills_no_log(server: ThreadedServer, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n" * 50)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a farewell
    wait_until(lambda: server.connections == 0)
    assert not caplog.records


def test_where_all_places_are_taken_the_address_that_holds_most_gives_one(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger who opens as many connections as there may be keeps nobody else out."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 3)
    lines = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    wait_until(lambda: server.connections == 3)
    own = raw(server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert own.startswith(b"HTTP/1.1 503 ")
    with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.2", 0), timeout=30) as other:
        other.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert other.recv(65536).startswith(b"HTTP/1.1 200 ")
    ended, _, _ = select.select(lines, [], [], PATIENCE_S)
    assert [line.recv(65536)[:12] for line in ended] == [b"HTTP/1.1 503"]
    for line in lines:
        line.close()
