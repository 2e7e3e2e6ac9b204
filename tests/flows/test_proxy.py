"""A platform behind a proxy: clients, browsers and restarts, as if the proxy were the platform."""

from collections.abc import Iterator

import httpx
import msgspec
import polars as pl
import pytest

import loopwright as lw
from loopwright.client.caller import HttpCaller
from loopwright.client.external import External
from loopwright.client.remote import Remote
from loopwright.config import load_settings
from loopwright.server.supervisor import Supervisor, running
from tests.flows.cluster import revive
from tests.flows.proxies import NGINX, nginx, our_own
from tests.servers import free_port

pytestmark = pytest.mark.slow

ROWS = 400


class Guarded(msgspec.Struct, frozen=True):
    """A platform that asks for tokens, where the proxy answers for it, and an admin's token."""

    platform: Supervisor
    server_url: str
    gateway_url: str
    token: str

    def connect(self) -> Remote:
        return Remote("credit", HttpCaller(self.server_url, self.gateway_url, self.token))


@pytest.fixture(scope="module", params=["our own", "nginx"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if request.param == "nginx" and NGINX is None:
        pytest.skip("nginx is not installed")
    proxy = nginx if request.param == "nginx" else our_own
    state = tmp_path_factory.mktemp("state")
    settings = msgspec.structs.replace(load_settings(state), port=free_port(), gateway_port=free_port(), auth="on")
    with (
        running(settings) as platform,
        proxy(tmp_path_factory.mktemp("proxy"), platform.server_url, platform.gateway_url) as (server_url, gateway_url),
    ):
        first = HttpCaller(platform.server_url, token=platform.settings.service_token)
        made = first.call("tokens.create", {"actor": "person:ana", "role": "admin", "every_project": True}, "_system")
        first.close()
        yield Guarded(platform, server_url, gateway_url, made.secret)


def decisions(first: int) -> pl.DataFrame:
    """Made-up decisions of one day with their outcomes."""
    ids = range(first, first + ROWS)
    return pl.DataFrame(
        {
            "case_id": [f"case-{number}" for number in ids],
            "decided_at": pl.Series([1_788_000_000_000_000 + number * 1_000_000 for number in ids]).cast(
                pl.Datetime("us", "UTC")
            ),
            "income": [number % 7 + 0.5 for number in ids],
            "pd": [number % 100 / 100 for number in ids],
            "defaulted": [number % 3 == 0 for number in ids],
        }
    )


def watch(p: Remote, reference: pl.DataFrame) -> External:
    return p.external(
        "scorecard",
        task="binary",
        reference=reference,
        id="case_id",
        time="decided_at",
        score="pd",
        label="defaulted",
    )


def test_clients_and_restarts_behind_a_proxy(guarded: Guarded) -> None:
    p = guarded.connect()
    rows = decisions(0)
    scorecard = watch(p, rows)
    assert scorecard.log(rows) == ROWS
    guarded.platform.kill("gateway")
    revive(guarded.platform, "gateway")  # the proxy answers 502 meanwhile
    assert scorecard.label(rows) == ROWS
    guarded.platform.kill("server")
    revive(guarded.platform, "server")
    assert p.call("projects.list")[0].name == "credit"
    more = decisions(ROWS)
    guarded.platform.kill("gateway")
    revive(guarded.platform, "gateway")
    assert scorecard.log(more) == ROWS, "they count once, so they were sent again"
    p.caller.close()


def test_a_person_signs_in_and_decides_behind_a_proxy(guarded: Guarded) -> None:
    with httpx.Client(base_url=guarded.server_url, headers={"origin": "https://loopwright.example"}) as browser:
        assert browser.get("/").status_code in (303, 401)
        signed_in = browser.post("/sign-in", data={"token": guarded.token})
        assert signed_in.status_code == 303
        assert "secure" in signed_in.headers["set-cookie"].lower(), "the proxy speaks TLS with the browser"
        cookie = {"loopwright_session": signed_in.cookies["loopwright_session"]}
        assert httpx.get(f"{guarded.server_url}/", cookies=cookie, follow_redirects=True).status_code == 200
        elsewhere = {"origin": "https://elsewhere.example"}
        refused = httpx.post(f"{guarded.server_url}/sign-out", cookies=cookie, headers=elsewhere)
        assert refused.status_code == 403, "a page of another site decides nothing"


def test_a_stranger_gets_nothing_through_a_proxy(guarded: Guarded) -> None:
    for url in (f"{guarded.server_url}/v1/credit/verbs/tracking.search_runs", f"{guarded.gateway_url}/metrics"):
        assert httpx.request("POST" if "v1" in url else "GET", url, json={}).status_code == 401


def test_many_bytes_pass(guarded: Guarded) -> None:
    """More than a proxy keeps in memory, both ways."""
    caller = HttpCaller(guarded.server_url, guarded.gateway_url, guarded.token)
    p = lw.connect(guarded.server_url, project="credit", token=guarded.token)
    body = bytes(range(256)) * (20 << 12)
    blob = caller.put_blob(p.project, body)
    assert blob["size_bytes"] == len(body)
    assert caller.get_blob(p.project, blob["digest"]) == body
    caller.close()
