"""A project that was lent to a job: what was not answered is sent again under its key, what was refused is not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from loopwright.kernel.errors import InvalidInput
from loopwright.store.work import Stopped
from loopwright.wire.credentials import JobClaim, job_token
from loopwright.wire.keys import moment_of
from loopwright.worker import lent
from loopwright.worker.calling import ServerCaller
from loopwright.worker.lent import LentProject
from tests.servers import free_port


class Site:
    """A server and a gateway in one, which answer as they are told, in turn."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                if self.path.endswith("serving.gateways"):
                    return self.say(200, [site.lease])
                site.asked.append((self.path, self.headers["authorization"], self.headers["idempotency-key"]))
                return self.say(*site.answers.pop(0))

            do_PUT = do_POST  # noqa: N815 - the library's name

            def say(self, status: int, document: Any) -> None:
                if status == 0:
                    self.connection.close()
                    return
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.gateway = self.url
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def lease(self) -> dict[str, Any]:
        return {"gateway": "g", "address": self.gateway, "acknowledged": 1, "lease_until": 0}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(lent, "_PAUSE_S", 0.0)
    opened = Site()
    yield opened
    opened.http.shutdown()
    opened.http.server_close()


CLAIM = JobClaim("flights", "job_1", 2)


def borrower(site: Site, **options: Any) -> LentProject:
    caller = ServerCaller(site.url, "lww_key").for_job(CLAIM)
    return LentProject(caller, "scratch", options.get("should_stop", lambda: False))


def error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": code}}


def test_a_gateway_that_does_not_know_the_token_yet_or_is_busy_is_asked_again_under_one_key(site: Site) -> None:
    site.answers = [(401, error("unauthenticated")), (429, error("too_busy")), (200, {"accepted": 1})]
    assert borrower(site).ask_gateway("/v1/scratch/deployments/late/labels", {"labels": []}) == {"accepted": 1}
    paths, tokens, keys = (set(each) for each in zip(*site.asked, strict=True))
    assert paths == {"/v1/scratch/deployments/late/labels"}
    assert tokens == {f"Bearer {job_token('lww_key', CLAIM)}"}
    assert len(keys) == 1


def test_what_a_gateway_refuses_is_not_sent_again(site: Site) -> None:
    site.answers = [(422, error("invalid_input"))]
    with pytest.raises(InvalidInput):
        borrower(site).ask_gateway("/predict", {})
    assert len(site.asked) == 1


def test_what_may_have_been_taken_is_sent_again_under_a_key_that_every_gateway_reads(site: Site) -> None:
    site.answers = [(0, None), (503, error("unavailable")), (200, {"predictions": []})]
    assert borrower(site).ask_gateway("/predict", {"rows": []}) == {"predictions": []}
    keys = [key for _, _, key in site.asked]
    assert (len(keys), len(set(keys))) == (3, 1)
    assert moment_of(keys[0]) is not None


def test_where_nobody_listens_any_more_the_server_is_asked_who_does(site: Site) -> None:
    site.gateway, asks = f"http://127.0.0.1:{free_port()}", borrower(site)
    site.answers = [(200, {"accepted": 2})]
    threading.Timer(0.2, lambda: setattr(site, "gateway", site.url)).start()
    assert asks.ask_gateway("/push", {}) == {"accepted": 2}


def test_a_job_that_is_to_stop_asks_nobody(site: Site) -> None:
    with pytest.raises(Stopped):
        borrower(site, should_stop=lambda: True).ask_gateway("/predict", {})
    assert site.asked == []


def test_bytes_are_uploaded_to_the_project_as_the_job(site: Site) -> None:
    site.answers = [(200, {"digest": "a" * 64, "size_bytes": 4})]
    assert borrower(site).put_blob(b"rows").size_bytes == 4
    assert site.asked[0][0] == "/v1/scratch/blobs"
