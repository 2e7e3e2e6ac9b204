"""A real gateway in the test's own process, asked over ASGI; nothing serves behind it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from loopwright.gateway.http import Gateway
from loopwright.gateway.process import make_gateway
from loopwright.gateway.watchdog import Watchdog
from tests.servers import settings_in

SERVICE_TOKEN = "lws_gateway_tests"
ADDRESS = "http://127.0.0.1:8401"
PREDICT = "/v1/flights/deployments/late/predict"
_READ = ("/healthz", "/metrics")


def served(folder: Path, *, is_open: bool) -> Iterator[Gateway]:
    """Yield a gateway that has not begun to follow a server."""
    settings = msgspec.structs.replace(settings_in(folder, 1, SERVICE_TOKEN), walls="off", gateway_url=ADDRESS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watchdog, "guard", lambda self: None)  # which would take over the fault handler of the tests
        gateway = make_gateway(settings, folder, is_open=is_open)
    yield gateway
    gateway._life.nursery.close()  # type: ignore[attr-defined]
    gateway._life.spool.close()  # type: ignore[attr-defined]


def ask(
    gateway: Gateway, path: str, secret: str = "", client: str = "127.0.0.1", json: Any = None, **headers: str
) -> httpx.Response:
    """Send a document, an empty one where none is given, from an address, with a token."""
    if secret:
        headers["authorization"] = f"Bearer {secret}"

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(gateway, client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.request("GET" if path in _READ else "POST", path, json=json or {}, headers=headers)

    return asyncio.run(send())
