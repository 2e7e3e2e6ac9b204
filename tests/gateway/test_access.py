"""Who may ask a gateway, and how often."""

from collections.abc import Iterator

import pytest

from loopwright.gateway.http import Gateway
from loopwright.gateway.releases.known import Known
from loopwright.governance import Token
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.verbs import Role
from loopwright.wire.credentials import gateway_token, own_control_secret
from loopwright.wire.exposure import FORWARDING
from loopwright.wire.rates import CallerRates, Rates
from tests.gateway.asking import ADDRESS, PREDICT, SERVICE_TOKEN, ask, served

TOKENS = {
    role.value: Token(f"tok_{role.value}", f"person:{role.value}", "flights", role, 0, None, None) for role in Role
}


def known(gateway: Gateway) -> Gateway:
    """Let a gateway know a token of each role, named after it."""
    tokens = {digest_bytes(role.encode()): token for role, token in TOKENS.items()}
    gateway._life.keeper.known = Known(tokens=tokens)  # type: ignore[attr-defined]
    return gateway


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that runs open on the loopback address."""
    yield from served(tmp_path_factory.mktemp("open"), is_open=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks for a token, and knows one of each role, named after it."""
    yield from map(known, served(tmp_path_factory.mktemp("guarded"), is_open=False))


@pytest.mark.parametrize("path", [PREDICT, "/v1/flights/deployments/late/features", "/v2/models/late/infer"])
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
    own = own_control_secret(gateway_token(SERVICE_TOKEN, ADDRESS))
    for secret in (SERVICE_TOKEN, own):
        assert [ask(guarded, path, secret).status_code for _ in range(4)] == [404] * 4


def test_who_sends_no_token_is_counted_among_the_strangers_where_one_is_asked_for(
    guarded: Gateway, opened: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for gateway, statuses in ((guarded, [401, 401, 401, 429]), (opened, [404] * 4)):
        rates = CallerRates(1)
        monkeypatch.setattr(gateway._gatekeeper, "_rates", rates)
        rates._strangers = Rates(0.01, 300.0)
        assert [ask(gateway, PREDICT).status_code for _ in range(4)] == statuses
    assert ask(guarded, PREDICT, authorization="Basic eDp4").status_code == 429
    assert ask(guarded, PREDICT, "viewer").status_code == 404


def test_the_server_is_asked_once_for_a_token_that_nobody_here_knows(
    guarded: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    keeper = guarded._life.keeper  # type: ignore[attr-defined]

    def refresh() -> None:
        asked.append(1)
        tokens = {digest_bytes(b"lwt_made_a_moment_ago"): TOKENS["viewer"], **keeper.known.tokens}
        keeper.known = Known(tokens=tokens)

    monkeypatch.setattr(keeper, "refresh", refresh)
    assert ask(guarded, PREDICT, "lwt_made_a_moment_ago").status_code == 404
    assert [ask(guarded, PREDICT, "lwt_revoked").status_code for _ in range(5)] == [401] * 5
    assert len(asked) == 2


def test_a_token_that_the_server_says_nothing_of_is_asked_for_again_and_told_to_come_back(
    guarded: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    inquiry = guarded._service.inquiry
    monkeypatch.setattr(inquiry, "_is_prompt", False)
    for path in (PREDICT, "/v2/models/late/infer"):
        answer = ask(guarded, path, "lwt_made_meanwhile")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert ask(guarded, "/healthz", "lwt_made_meanwhile").status_code == ask(guarded, "/healthz").status_code
    monkeypatch.setattr(inquiry, "_is_prompt", True)
    assert ask(guarded, PREDICT, "lwt_made_meanwhile").status_code == 401


@pytest.mark.parametrize("name", FORWARDING)
def test_an_open_gateway_answers_through_no_proxy(opened: Gateway, name: str) -> None:
    """Behind one it would take everybody whom the proxy lets through for its owner."""
    assert ask(opened, PREDICT).status_code == 404
    for path in (
        PREDICT,
        "/v1/flights/deployments/late/features",
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
