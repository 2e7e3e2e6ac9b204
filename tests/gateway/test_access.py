"""Who may ask a gateway, and how often: a real gateway in this process, asked over ASGI; nothing serves behind it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from loopwright.gateway.http import Gateway
from loopwright.gateway.process import make_gateway
from loopwright.gateway.releases import Known
from loopwright.gateway.watchdog import Watchdog
from loopwright.governance import Token
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.verbs import Role
from loopwright.wire.credentials import gateway_token, own_control_secret
from loopwright.wire.exposure import FORWARDING
from loopwright.wire.rates import CallerRates, Rates
from tests.servers import settings_in

SERVICE_TOKEN = "lws_gateway_tests"
GET = ("/healthz", "/metrics")
PREDICT = "/v1/flights/deployments/late/predict"
TOKENS = {
    role.value: Token(f"tok_{role.value}", f"person:{role.value}", "flights", role, 0, None, None) for role in Role
}


def ask(gateway: Gateway, path: str, secret: str = "", client: str = "127.0.0.1", **headers: str) -> httpx.Response:
    if secret:
        headers["authorization"] = f"Bearer {secret}"

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(gateway, client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.request("GET" if path in GET else "POST", path, json={}, headers=headers)

    return asyncio.run(send())


def served(folder: Path, *, is_open: bool) -> Iterator[Gateway]:
    settings = msgspec.structs.replace(settings_in(folder, 1, SERVICE_TOKEN), walls="off", gateway_port=8401)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watchdog, "guard", lambda self: None)  # which would take over the fault handler of the tests
        gateway = make_gateway(settings, folder, is_open=is_open)
    gateway._life.keeper.known = Known(tokens={digest_bytes(role.encode()): token for role, token in TOKENS.items()})
    yield gateway
    gateway._life.nursery.close()
    gateway._life.spool.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that runs open on the loopback address."""
    yield from served(tmp_path_factory.mktemp("open"), is_open=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks for a token, and knows one of each role, named after it."""
    yield from served(tmp_path_factory.mktemp("guarded"), is_open=False)


@pytest.mark.parametrize("path", [PREDICT, "/v2/models/late/infer"])
def test_strangers_share_what_an_address_may_send_and_others_are_answered(
    guarded: Gateway, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = CallerRates(1)
    monkeypatch.setattr(guarded._gatekeeper, "_rates", rates)
    rates._tokens, rates._strangers = Rates(0.01, 300.0), Rates(0.01, 300.0)
    guesses = [ask(guarded, path, f"lwt_guess{number}") for number in range(4)]
    assert [answer.status_code for answer in guesses] == [401, 401, 401, 429]
    assert int(guesses[3].headers["retry-after"]) > 0
    assert [ask(guarded, path, "viewer").status_code for _ in range(4)] == [404, 404, 404, 429]
    assert ask(guarded, path, "editor").status_code == 404
    assert ask(guarded, path, "lwt_guess", client="10.1.2.3").status_code == 401
    own = own_control_secret(gateway_token(SERVICE_TOKEN, "http://127.0.0.1:8401"))
    for secret in (SERVICE_TOKEN, own):
        assert [ask(guarded, path, secret).status_code for _ in range(4)] == [404] * 4


@pytest.mark.parametrize("name", FORWARDING)
def test_an_open_gateway_answers_through_no_proxy(opened: Gateway, name: str) -> None:
    """Behind one it would take everybody whom the proxy lets through for its owner."""
    assert ask(opened, PREDICT).status_code == 404
    for path in (
        PREDICT,
        "/v2/models/late/infer",
        "/v1/flights/deployments/late/labels",
        "/v1/flights/datasets/d/push",
    ):
        answer = ask(opened, path, **{name: "10.0.0.1"})
        assert answer.status_code == 403, path
        assert "does not answer through a proxy" in answer.text
    assert set(ask(opened, "/healthz").json()) > set(ask(opened, "/healthz", **{name: "10.0.0.1"}).json())


@pytest.mark.parametrize("name", FORWARDING)
def test_behind_a_proxy_a_token_counts_and_no_header_makes_one_up(guarded: Gateway, name: str) -> None:
    for value in ("127.0.0.1", "for=127.0.0.1"):
        assert ask(guarded, PREDICT, "viewer", **{name: value}).status_code == 404
        assert ask(guarded, PREDICT, **{name: value}).status_code == 401
        assert ask(guarded, "/v1/flights/deployments/late/labels", "viewer", **{name: value}).status_code == 403
