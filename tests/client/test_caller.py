"""Calling a server: its errors come back as ours, and what is no server of ours is said so."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import numpy as np
import pytest

from loopwright.client.caller import LONG_S, SHORT_S, HttpCaller
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Project
from loopwright.kernel.errors import (
    Corrupt,
    InvalidInput,
    LoopwrightError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from loopwright.wire.addresses import Addresses
from loopwright.wire.keys import moment_of
from tests.server.site import Site, serve
from tests.servers import free_port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from serve(tmp_path_factory.mktemp("site"), is_open=False)


@pytest.fixture
def caller(site: Site) -> Iterator[HttpCaller]:
    made = HttpCaller(site.url, token=site.tokens["editor"])
    yield made
    made.close()


def test_an_answer_has_the_verbs_type(caller: HttpCaller) -> None:
    found = caller.call("projects.list", {}, "_system")
    assert [type(project) for project in found] == [Project]


def test_errors_come_back_as_they_were_raised(caller: HttpCaller, site: Site) -> None:
    with pytest.raises(NotFound, match="did you mean"):
        caller.call("audit.lst", {}, "flights")
    with pytest.raises(InvalidInput) as refused:
        caller.call("audit.list", {"limit": -1}, "flights")
    assert refused.value.field == "limit"
    with pytest.raises(PermissionDenied):
        caller.call("audit.list", {}, "other")
    with pytest.raises(Unauthenticated, match="loopwright login"):
        HttpCaller(site.url).call("audit.list", {}, "flights")


def test_a_key_makes_a_call_once(caller: HttpCaller) -> None:
    made = [caller.call("tracking.start_run", {"experiment": "x"}, "flights", key="k7") for _ in range(2)]
    assert made[0] == made[1]


def test_infinities_arrive_as_what_they_are(caller: HttpCaller) -> None:
    run = caller.call("tracking.start_run", {"experiment": "x", "params": {"limit": math.inf}}, "flights")
    assert run.params == {"limit": "inf"}
    sent = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": 0.5}
    caller.call("tracking.log", {"run_id": run.run_id, "metrics": sent}, "flights")
    found = caller.call("tracking.get_run", {"run_id": run.run_id}, "flights")
    assert (found.metrics, found.non_finite) == ({"d": 0.5}, {"a": "inf", "b": "-inf", "c": "nan"})


def test_numpys_scalars_arrive_as_numbers(caller: HttpCaller) -> None:
    params = {"depth": np.int64(6), "limits": [np.float32(0.5), np.float64(math.inf)], "fast": np.bool_(True)}
    run = caller.call("tracking.start_run", {"experiment": "x", "params": params}, "flights")
    assert run.params == {"depth": 6, "limits": [0.5, "inf"], "fast": True}
    caller.call("tracking.log", {"run_id": run.run_id, "metrics": {"loss": np.float32(0.25)}}, "flights")
    assert caller.call("tracking.get_run", {"run_id": run.run_id}, "flights").metrics == {"loss": 0.25}
    with pytest.raises(InvalidInput, match=r"tracking.log cannot be sent this.*ndarray"):
        caller.call("tracking.log", {"run_id": run.run_id, "metrics": {"loss": np.ones(2)}}, "flights")


@pytest.mark.parametrize("project", ["../x", "a/b", "a?b", "a#b", "%2e%2e", "..", "a b"])
def test_a_name_does_not_change_the_address(caller: HttpCaller, project: str) -> None:
    with pytest.raises(LoopwrightError):
        caller.call("audit.list", {}, project)


def test_blobs_are_checked_on_arrival(caller: HttpCaller, site: Site) -> None:
    ref = caller.put_blob("flights", b"hello")
    assert caller.get_blob("flights", ref["digest"]) == b"hello"
    site.context.blobs.path(ref["digest"]).write_bytes(b"hellp")
    with pytest.raises(Corrupt):
        caller.get_blob("flights", ref["digest"])


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("http://0.0.0.0:8401", "http://127.0.0.1:8401"),
        ("http://[::]:8401", "http://127.0.0.1:8401"),
        ("https://predict.example/", "https://predict.example"),
    ],
)
def test_a_gateway_that_listens_everywhere_is_reached_where_the_server_is(
    caller: HttpCaller, site: Site, address: str, reached: str
) -> None:
    args = {"gateway": "g", "address": address, "position": 0}
    site.context.dispatcher.call("serving.acknowledge", args, actor=SERVICE_ACTOR, project=SYSTEM)
    assert reached in caller.find_gateways("flights").urls


def test_a_server_that_is_down_says_what_to_do() -> None:
    with pytest.raises(Unavailable, match="loopwright up"):
        HttpCaller(f"http://127.0.0.1:{free_port()}").call("audit.list", {}, "flights")


class Told(NamedTuple):
    """An answer of the house: a status and the error's code."""

    status: int
    code: str


class Moved(NamedTuple):
    """An answer with nothing in it, of something that stands in the house's place."""

    status: int
    location: str = ""


class Flaky(ThreadingHTTPServer):
    """Answers ``[]``, or as planned for the next requests: ``lost`` takes one and hangs up, a number is a status."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.plan: list[str | int | Told | Moved] = []
        self.keys: list[str | None] = []
        side = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                side.keys.append(self.headers["idempotency-key"])
                planned = side.plan.pop(0) if side.plan else 200
                if planned == "lost":
                    self.close_connection = True
                    return
                body, location = b"[]", ""
                if isinstance(planned, Moved):
                    body, (planned, location) = b"", planned
                if isinstance(planned, Told):
                    planned, error = planned.status, {"code": planned.code, "message": "because"}
                    body = json.dumps({"error": error}).encode()
                self.send_response(int(planned))
                self.send_header("content-length", str(len(body)))
                self.send_header("retry-after", "0")
                if location:
                    self.send_header("location", location)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    made = Flaky()
    yield made
    made.stop()


def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(flaky: Flaky) -> None:
    caller = HttpCaller(flaky.url)
    caller.call("projects.list", {}, "_system")
    flaky.plan, flaky.keys = ["lost", 503, "lost"], []
    assert caller.call("x.some_verb", {}, "flights") == []
    assert len(flaky.keys) == 4
    assert len(set(flaky.keys)) == 1
    assert str(flaky.keys[0]).startswith("sdk-")
    caller.close()


def test_what_is_not_done_once_by_a_key_is_not_sent_again_when_its_answer_was_lost(flaky: Flaky) -> None:
    caller = HttpCaller(flaky.url, flaky.url)
    caller.call("projects.list", {}, "_system")
    flaky.plan, flaky.keys = ["lost"], []
    with pytest.raises(Unavailable, match="broke before its answer was whole") as broken:
        caller.call("clock.advance", {"to": 1}, "flights")
    assert broken.value.value == "Remote end closed connection without response"
    assert "may have been done" in str(broken.value.next_step), "nobody is told that it was not"
    assert len(flaky.keys) == 1
    caller.close()


def test_what_a_gateway_is_asked_goes_again_when_its_answer_was_lost_under_a_key_that_names_its_moment(
    flaky: Flaky,
) -> None:
    caller = HttpCaller(flaky.url, flaky.url)
    caller.call("projects.list", {}, "_system")
    flaky.plan, flaky.keys = ["lost", 502, 503, 504, "lost"], []
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    assert (len(flaky.keys), len(set(flaky.keys))) == (6, 1)
    assert moment_of(str(flaky.keys[0])) is not None
    assert caller.gateway("/v1/flights/datasets/landings/push", {"rows": []}) == []
    assert flaky.keys[-1] != flaky.keys[0]
    caller.close()


def test_of_our_own_refusals_only_that_something_is_away_is_asked_again(flaky: Flaky) -> None:
    caller = HttpCaller(flaky.url, flaky.url)
    caller.call("projects.list", {}, "_system")
    flaky.plan, flaky.keys = [Told(503, "unavailable"), Told(503, "model_paused"), 200, Told(504, "took_too_long")], []
    with pytest.raises(LoopwrightError, match="because"):
        caller.gateway("/v1/flights/deployments/late/predict", {"rows": []})
    assert len(flaky.keys) == 2
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    with pytest.raises(LoopwrightError, match="because"):
        caller.gateway("/v1/flights/deployments/late/predict", {"rows": []})
    assert len(flaky.keys) == 4
    caller.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_success_and_nobody_goes_where_it_leads(flaky: Flaky, status: int) -> None:
    other = Flaky()
    caller = HttpCaller(flaky.url, flaky.url, "lwt_secret")
    flaky.plan = [Moved(status, f"{other.url}/x")] * 3
    with pytest.raises(Unavailable, match="is elsewhere") as told:
        caller.call("tokens.revoke", {"token_id": "tok_1"}, "flights")
    assert (told.value.field, told.value.value) == ("LOOPWRIGHT_URL", f"{other.url}/x")
    with pytest.raises(Unavailable, match="is elsewhere") as told:
        caller.gateway("/v1/flights/deployments/late/predict", {"rows": []})
    assert told.value.field == "LOOPWRIGHT_GATEWAY_URL"
    assert (len(flaky.keys), other.keys) == (2, [])
    caller.close()
    other.stop()


@pytest.mark.parametrize("status", [200, 204, 304])
def test_an_answer_with_nothing_in_it_is_none_of_ours(flaky: Flaky, status: int) -> None:
    caller = HttpCaller(flaky.url)
    flaky.plan = [Moved(status)]
    with pytest.raises(Unavailable, match=r"does not answer as Loopwright does|unexpected answer 304"):
        caller.call("tokens.revoke", {"token_id": "tok_1"}, "flights")
    caller.close()


def test_a_request_that_was_refused_for_now_is_sent_again(flaky: Flaky) -> None:
    caller = HttpCaller(flaky.url, flaky.url)
    caller.call("projects.list", {}, "_system")
    flaky.plan, flaky.keys = [429, 429], []
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    assert (len(flaky.keys), len(set(flaky.keys))) == (3, 1)
    caller.close()


def test_a_restart_is_not_noticed_and_an_address_where_nobody_is_is_told_at_once(flaky: Flaky) -> None:
    caller = HttpCaller(flaky.url, patience_s=1000)
    with pytest.raises(Unavailable, match="loopwright up"):
        HttpCaller(f"http://127.0.0.1:{free_port()}", patience_s=1000).call("projects.list", {}, "_system")
    caller.call("projects.list", {}, "_system")
    flaky.stop()
    caller.close()
    again: list[Flaky] = []
    restart = threading.Timer(0.3, lambda: again.append(Flaky(flaky.server_address[1])))
    restart.start()
    assert caller.call("x.some_verb", {}, "flights") == []
    again[0].stop()
    caller.close()


def test_a_gateway_that_is_gone_is_looked_for_anew(caller: HttpCaller, site: Site, flaky: Flaky) -> None:
    def live(name: str, url: str) -> None:
        args = {"gateway": name, "address": url, "position": 0}
        site.context.dispatcher.call("serving.acknowledge", args, actor=SERVICE_ACTOR, project=SYSTEM)

    live("g", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="cannot reach"):
        caller.gateway("/v1/flights/deployments/late/predict", {"rows": []})
    live("g", flaky.url)
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    moved = Flaky()
    live("g", moved.url)
    flaky.stop()
    caller.patience_s = 0.1
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    moved.stop()


def test_a_server_that_names_another_dead_gateway_each_time_is_not_asked_for_ever(
    flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = HttpCaller(flaky.url)
    dead, asked = free_port(), []

    def find(_project: str) -> Addresses:
        asked.append(1)
        return Addresses(f"http://127.0.0.1:{dead}/{len(asked)}")

    monkeypatch.setattr(caller, "find_gateways", find)
    with pytest.raises(Unavailable, match="cannot reach"):
        caller.gateway("/v1/flights/deployments/late/predict", {"rows": []})
    assert len(asked) < 50
    caller.close()


def test_of_two_servers_and_two_gateways_the_one_that_lives_answers_at_once(flaky: Flaky) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    caller = HttpCaller(f"{dead},{flaky.url}", f"{dead}, {flaky.url}/")
    assert caller.url == dead
    assert caller.call("x.some_verb", {}, "flights") == []
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    other = Flaky()
    twice = HttpCaller(f"{flaky.url},{other.url}")
    assert twice.call("x.some_verb", {}, "flights") == []
    flaky.plan, flaky.keys = ["lost"], []
    assert twice.call("x.some_verb", {}, "flights") == []
    assert flaky.keys == other.keys, "the same key at both"
    for made in (caller, twice):
        made.close()
    other.stop()


def test_a_gateway_that_died_a_moment_ago_is_passed_over(caller: HttpCaller, site: Site, flaky: Flaky) -> None:
    other = Flaky()
    for name, url in (("g", flaky.url), ("h", other.url)):
        args = {"gateway": name, "address": url, "position": 0}
        site.context.dispatcher.call("serving.acknowledge", args, actor=SERVICE_ACTOR, project=SYSTEM)
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    answering, left = (flaky, other) if flaky.keys else (other, flaky)
    answering.stop()
    caller.close()  # the connections that were open
    assert caller.gateway("/v1/flights/deployments/late/predict", {"rows": []}) == []
    assert len(left.keys) == 1
    left.stop()


@pytest.mark.parametrize(
    ("verb", "waits_s"), [("audit.verify", LONG_S), ("clock.advance", LONG_S), ("audit.list", SHORT_S)]
)
def test_operations_are_waited_for(monkeypatch: pytest.MonkeyPatch, verb: str, waits_s: float) -> None:
    """An operation takes as long as it takes; to hang up on one is to have it done for nobody."""
    waited: list[float] = []

    def ask(_self: HttpCaller, _where: Any, sent: Any) -> Any:
        waited.append(sent.timeout_s)
        raise NotFound("asked enough")

    monkeypatch.setattr(HttpCaller, "_request", ask)
    with pytest.raises(NotFound):
        HttpCaller("http://127.0.0.1:1").call(verb, {}, "flights")
    assert waited == [waits_s]
