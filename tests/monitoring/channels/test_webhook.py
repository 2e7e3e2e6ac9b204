"""Web hooks: what is posted, and where they never go."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.monitoring.channels import Notice, webhook
from loopwright.monitoring.channels.webhook import public_address, send
from tests.waiting import PATIENCE_S


@pytest.fixture
def hook() -> Iterator[Any]:
    """A real server that keeps what was posted; it answers 500 below /broken and redirects below /moved."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            server.posted.append((self.path, self.headers["host"], json.loads(body)))  # type: ignore[attr-defined]
            self.send_response({"/broken": 500, "/moved": 302}.get(self.path, 204))
            self.send_header("location", "/elsewhere")
            if self.path == "/slow":
                self.wfile.write(b"".join(self._headers_buffer))  # type: ignore[attr-defined]
                self.pour(b"x")
            self.end_headers()
            if self.path == "/endless":
                self.pour(b"x" * 65536)

        def pour(self, piece: bytes) -> None:
            """Write until nobody listens any more."""
            try:
                while not server.is_over.wait(0.01 if len(piece) == 1 else 0):  # type: ignore[attr-defined]
                    self.wfile.write(piece)
            except OSError:
                server.left.set()  # type: ignore[attr-defined]

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.posted = []  # type: ignore[attr-defined]
    server.is_over, server.left = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.is_over.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_posts_json_to_an_allowed_host(hook: Any, notice: Notice) -> None:
    port = hook.server_address[1]
    send(f"http://localhost:{port}/alerts?team=ml", notice, frozenset({"localhost"}))
    [(path, host, document)] = hook.posted
    assert (path, host) == ("/alerts?team=ml", f"localhost:{port}")
    assert document["text"] == str(notice)
    assert document["incident"]["kind"] == "drift"


PRIVATE = ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.8", "[::1]", "0.0.0.0", "224.0.0.1"]
CARRIED = ["[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[::ffff:10.0.0.8]", "[::127.0.0.1]"]


@pytest.mark.parametrize("host", [*PRIVATE, *CARRIED, "[64:ff9b:1::7f00:1]", "[2001:0:7f00:1::]"])
def test_private_addresses_are_refused(host: str, notice: Notice) -> None:
    with pytest.raises(InvalidInput, match="private networks"):
        send(f"http://{host}:1/x", notice, frozenset({"elsewhere"}))


def test_a_public_address_is_called_as_looked_up() -> None:
    assert public_address("8.8.8.8", 443, frozenset()) == "8.8.8.8"


@pytest.mark.parametrize("path", ["broken", "moved"])
def test_a_bad_answer_is_an_error_and_redirects_are_not_followed(path: str, hook: Any, notice: Notice) -> None:
    with pytest.raises(Unavailable, match="answered"):
        send(f"http://localhost:{hook.server_address[1]}/{path}", notice, frozenset({"localhost"}))
    assert len(hook.posted) == 1


@pytest.mark.parametrize("path", ["endless", "slow"])
def test_an_answer_without_end_keeps_no_worker(
    path: str, hook: Any, notice: Notice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever the target belongs to may send what they like, as slowly as they like: it fills and stops nobody."""
    target = f"http://localhost:{hook.server_address[1]}/{path}"
    deadline_s = 0.3
    while path == "slow" and not hook.posted:  # on a busy machine so short a time may pass before anybody is reached
        monkeypatch.setattr(webhook, "DEADLINE_S", deadline_s)
        deadline_s *= 2
        with pytest.raises(Unavailable, match="in time"):
            send(target, notice, frozenset({"localhost"}))
    if path == "endless":
        send(target, notice, frozenset({"localhost"}))
    assert hook.left.wait(PATIENCE_S)


def test_nobody_there_and_no_url_at_all(notice: Notice) -> None:
    with pytest.raises(Unavailable, match="did not answer"):
        send("http://localhost:1/x", notice, frozenset({"localhost"}))
    for target in ("", "file:///etc/passwd", "ftp://example.org"):
        with pytest.raises(InvalidInput, match="no web hook"):
            send(target, notice, frozenset())
