"""Sealing before a read: a gateway that is gone is left out, one that cannot seal is an error."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.documents import from_json
from loopwright.kernel.errors import Unavailable
from loopwright.loop import OperationContext, Reactor
from loopwright.store.blobs import open_blob_store
from loopwright.store.types import EVERY_STREAM, Streams
from loopwright.wire.credentials import gateway_token, is_worker, own_control_secret, read_gateway, read_job
from tests.servers import free_port


class Gateway(HTTPServer):
    """Answers every request with one status, and keeps what was asked."""

    status = 200

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Streams]] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                gateway.asked.append((self.path, self.headers["authorization"], from_json(body, Streams)))
                self.send_response(gateway.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as opened:
        yield opened
        opened.shutdown()


@pytest.fixture
def context(dispatcher: Dispatcher, tmp_path: Path) -> OperationContext:
    blobs, reactor = open_blob_store(str(tmp_path / "blobs")), Reactor(dispatcher)
    return OperationContext(dispatcher, blobs, reactor, lambda seen, _: seen, "lws_x", "flights", LOCAL_ACTOR)


@pytest.fixture
def live(dispatcher: Dispatcher) -> Callable[[str, int], None]:
    """Let a gateway say where it is."""

    def at(name: str, port: int) -> None:
        args = {"gateway": name, "address": f"http://127.0.0.1:{port}", "position": 0}
        dispatcher.call("serving.acknowledge", args, actor=SERVICE_ACTOR, project=SYSTEM)

    return at


def test_every_gateway_that_answers_is_asked_with_the_secret_of_its_address(
    context: OperationContext, gateway: Gateway, live: Callable[[str, int], None]
) -> None:
    live("a-killed", free_port())
    live("b-live", gateway.server_port)
    context.seal()
    labels = Streams("flights", ("labels",), "late")
    context.seal(labels)
    own = own_control_secret(gateway_token("lws_x", f"http://127.0.0.1:{gateway.server_port}"))
    assert gateway.asked == [("/internal/seal", f"Bearer {own}", one) for one in (EVERY_STREAM, labels)]


def test_nothing_that_is_posted_to_an_address_opens_anything_elsewhere(
    context: OperationContext, gateway: Gateway, live: Callable[[str, int], None]
) -> None:
    live("eve", gateway.server_port)
    context.seal()
    got = gateway.asked[0][1].removeprefix("Bearer ")
    assert got
    assert got != own_control_secret(gateway_token("lws_x", "http://127.0.0.1:1"))
    assert (read_gateway(got, "lws_x"), read_job(got, "lws_x"), is_worker(got, "lws_x")) == (None, None, False)


@pytest.mark.parametrize("status", [401, 500, 503])
def test_a_gateway_that_cannot_seal_is_an_error(
    context: OperationContext, gateway: Gateway, live: Callable[[str, int], None], status: int
) -> None:
    live("a", gateway.server_port)
    gateway.status = status
    with pytest.raises(Unavailable, match="not sealed"):
        context.seal()
