"""Mutated bytes on real connections to a server: each is answered or hung up on, and the server goes on answering."""

import random
import socket
from collections.abc import Iterator

import httpx
import pytest

from loopwright.wire.connections import LimitedProtocol
from tests.fuzz.mutations import SEEDS, seeds
from tests.server.site import Site, serve
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
HEADS = [
    "POST /v1/flights/verbs/tracking.start_run HTTP/1.1",
    "POST /v1/flights/verbs/jobs.get?wait_s=0.01 HTTP/1.1",
    "PUT /v1/flights/blobs HTTP/1.1",
    "POST /sign-in HTTP/1.1",
    "POST /p/flights/do/jobs.retry HTTP/1.1",
    "GET /p/flights HTTP/1.1",
    "GET /healthz HTTP/1.0",
]
LINES = [
    *("Content-Length: {size}", "Content-Length: 0", "Content-Length: 7", "Content-Length: -1", "Content-Length: 9e9"),
    *("Content-Length: 99999999999999999999", "content-length: {size}", "Transfer-Encoding: chunked", ": x", "x"),
    *("Transfer-Encoding: gzip, chunked", "Transfer-Encoding: x", "Expect: 100-continue", "Upgrade: websocket"),
    *("Connection: Upgrade", "Authorization: Bearer", "X-Long: " + "x" * 70_000, " folded", "Host: \0"),
    *("Connection: close", "Cookie: a=b; =;;"),
]
BODY = b'{"experiment": "late", "run": [1, 2, {"x": null}]}'
CHUNKS = [
    *(b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"zz\r\n", b"5;a=b\r\nhel"),
    b"0\r\nTrailer: x\r\n\r\n",
]
JUNK = [
    *(b"\0", b"\r\n", b"\n", b" ", b"\xff", b"\r\n\r\n", b"HTTP/1.1", b"a" * 70_000, b"\x16\x03\x01", b""),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def drawn(seed: int, port: int) -> list[bytes]:
    """Return the pieces that a seed sends on one connection."""
    random_ = random.Random(seed)
    sent = b""
    for _ in range(random_.choice([1, 1, 1, 2, 3])):
        lines = [f"Host: 127.0.0.1:{port}", *random_.sample(LINES, random_.choice([0, 1, 1, 2, 3]))]
        head = "\r\n".join([random_.choice(HEADS), *lines]).format(size=len(BODY))
        body = (
            b"".join(random_.choices(CHUNKS, k=3)) if "chunked" in head else BODY[: random_.choice([len(BODY), 9, 0])]
        )
        sent += head.encode("latin-1") + b"\r\n\r\n" + body
    for _ in range(random_.choice([0, 0, 1, 2, 4])):
        at = random_.randrange(len(sent) + 1)
        junk = random_.choice([bytes([random_.randrange(256)]), *JUNK])
        sent = sent[:at] + junk + sent[at + random_.randrange(3) :]
    at = random_.randrange(len(sent) + 1)
    return [sent[:at], sent[at:]]


def answered(port: int, pieces: list[bytes]) -> bytes:
    """Send pieces, end the sending, and return everything that comes back until the server hangs up."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
            line.shutdown(socket.SHUT_WR)
            while piece := line.recv(65536):
                got += piece
        except (ConnectionError, BrokenPipeError):
            pass  # it was hung up on
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
    return got


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from serve(tmp_path_factory.mktemp("wire"), is_open=True, http=LimitedProtocol)


def test_no_connection_is_too_much(site: Site) -> None:
    wrong: list[tuple[int, str]] = []
    statuses: set[bytes] = set()
    with httpx.Client(base_url=site.url, timeout=PATIENCE_S) as client:
        for seed in seeds():
            try:
                got = answered(site.server.port, drawn(seed, site.server.port))
            except TimeoutError:
                wrong.append((seed, "neither answered nor hung up on"))
                continue
            statuses.add(got[9:12])
            if got and (not got.startswith(b"HTTP/1.1 ") or b"HTTP/1.1 5" in got or b"Traceback" in got):
                wrong.append((seed, repr(got[:300])))
            if seed % 50 == 0 and client.get("/healthz").status_code != 200:
                wrong.append((seed, "the server answers no more"))
        report = client.post("/v1/flights/verbs/audit.verify").json()
    assert wrong == [], f"{len(wrong)} of {SEEDS}"
    assert report["problems"] == report["mismatches"] == []
    assert SEEDS < 100 or {b"200", b"400", b"422"} <= statuses
    assert list((site.context.settings.state_dir / "uploads").iterdir()) == []
