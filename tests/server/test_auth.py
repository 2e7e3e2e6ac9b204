"""Who is let in: tokens, the open loopback mode, foreign names and foreign pages."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.wire.exposure import is_loopback
from tests.server.site import Site
from tests.waiting import PATIENCE_S

START = "/v1/flights/verbs/tracking.start_run"


def raw(site: Site, *lines: bytes) -> bytes:
    """Send a request as bytes, which no client library tidies up."""
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(b"\r\n".join([*lines, b"", b""]))
        return connection.recv(4096)


def test_an_open_server_lets_the_local_person_in(opened: Site) -> None:
    assert opened.call("audit.list").status_code == 200
    with opened.http() as http:
        assert http.get("/healthz").json() == {"status": "ok", "open": True}


def test_a_guarded_server_asks_for_a_token(guarded: Site) -> None:
    assert guarded.call("audit.list").status_code == 401
    assert guarded.call("audit.list", "viewer").status_code == 200
    with guarded.http(authorization="Bearer wrong") as http:
        assert http.post("/v1/flights/verbs/audit.list", json={}).status_code == 401


def test_a_revoked_token_is_refused_at_once(guarded: Site) -> None:
    made = guarded.call("tokens.create", "admin", actor="person:eve", role="viewer").json()
    guarded.tokens["eve"] = made["secret"]
    assert guarded.call("audit.list", "eve").status_code == 200
    guarded.call("tokens.revoke", "admin", token_id=made["token"]["token_id"])
    assert guarded.call("audit.list", "eve").status_code == 401


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearer \xff\xfe",
            b"Bearer \xc3\xbc",
            b"Basic YTpi",
            b"Bearer a b c",
            b"bearer\tx",
        ),
        *(
            b"Bearer ' OR 1=1 --",
            b'Bearer "; DROP TABLE tokens; --',
            b"Bearer %27",
            b"Bearer " + b"x" * 8000,
            b"Bearer null",
        ),
    ],
)
def test_whatever_stands_in_the_token_header_is_no_way_in(guarded: Site, value: bytes) -> None:
    request = [b"POST /v1/flights/verbs/audit.list HTTP/1.1", b"Host: 127.0.0.1", b"Content-Length: 2"]
    answer = raw(guarded, *request, b"Authorization: " + value, b"", b"{}")
    assert answer.split(b" ", 2)[1] in (b"400", b"401"), answer


def test_no_account_exists_that_nobody_made(guarded: Site) -> None:
    for secret in ("admin", "loopwright", "password", "person:local", "service:loopwright", "lws_"):
        with guarded.http(authorization=f"Bearer {secret}") as http:
            assert http.post("/v1/flights/verbs/audit.list", json={}).status_code == 401, secret


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8400",
        "127.0.0.1.evil.example",
        "169.254.169.254",
        "10.0.0.1",
        "[::2]:80",
        "0.0.0.0",
        "",
    ],
)
def test_a_foreign_name_leads_nowhere(opened: Site, host: str) -> None:
    for method in (b"POST", b"PUT", b"GET", b"DELETE", b"PATCH"):
        for path in (b"/v1/flights/verbs/audit.list", b"/v1/flights/blobs", b"/p/flights"):
            request = [method + b" " + path + b" HTTP/1.1", b"Host: " + host.encode(), b"Content-Length: 2"]
            answer = raw(opened, *request, b"", b"{}")
            assert answer.split(b" ", 2)[1] in (b"400", b"403", b"404", b"405"), (method, path, answer)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8400", "[::1]:8400", "127.0.0.2:80"])
def test_names_of_this_machine_lead_here(opened: Site, host: str) -> None:
    with opened.http(host=host) as http:
        assert http.post("/v1/flights/verbs/audit.list", json={}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]
)
def test_a_page_of_another_site_changes_nothing(opened: Site, guarded: Site, origin: str) -> None:
    before = len(opened.call("audit.list").json())
    with opened.http(origin=origin) as http:
        assert http.post(START, json={"experiment": "x"}).status_code == 403
        assert http.put("/v1/flights/blobs", content=b"x").status_code == 403
        form = {"experiment": "x", "reason": "x", "approval_id": "x"}
        assert http.post("/p/flights/do/approvals.approve", data=form).status_code == 403
    assert len(opened.call("audit.list").json()) == before
    with guarded.http(origin=origin, cookie=f"loopwright_token={guarded.tokens['admin']}") as http:
        assert http.post(START, json={"experiment": "x"}).status_code == 403


def test_our_own_pages_may_post(opened: Site) -> None:
    with opened.http(origin=opened.url) as http:
        assert http.post(START, json={"experiment": "own"}).status_code == 200


def test_nobody_waits_while_a_token_is_looked_up(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, is_asked, may_end = guarded.context.dispatcher.authenticate, threading.Event(), threading.Event()

    def look_up_slowly(secret: str) -> Any:
        is_asked.set()
        assert may_end.wait(PATIENCE_S)
        return look_up(secret)

    monkeypatch.setattr(guarded.context.dispatcher, "authenticate", look_up_slowly)
    with ThreadPoolExecutor(1) as pool, guarded.http() as http:
        slow = pool.submit(guarded.call, "audit.list", "viewer")
        assert is_asked.wait(PATIENCE_S)
        assert http.get("/healthz").status_code == 200
        may_end.set()
        assert slow.result().status_code == 200


def test_loopback_names() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "::1", "[::1]", "127.8.9.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "example.com", "", "localhost.evil.example", "10.0.0.1", "::")))
