"""Who is let in: tokens, the open loopback mode, foreign names and foreign pages."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, tokens
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.verbs import VERBS
from loopwright.store.types import Job
from loopwright.wire.credentials import JobClaim, gateway_token, job_token, worker_token
from loopwright.wire.exposure import FORWARDING, is_loopback
from loopwright.wire.rates import CallerRates, Rates
from tests.server.site import SERVICE_TOKEN, Site
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
    session = guarded.context.dispatcher.begin_session(guarded.tokens["admin"])
    with guarded.http(origin=origin, cookie=f"loopwright_session={session}") as http:
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


@pytest.mark.parametrize("name", FORWARDING)
def test_an_open_server_answers_nobody_through_a_proxy_and_a_guarded_one_does(
    opened: Site, guarded: Site, name: str
) -> None:
    with opened.http(**{name: "203.0.113.7"}) as http:
        for answer in (http.post(START, json={}), http.get("/v1/flights/blobs/" + "a" * 64)):
            assert (answer.status_code, answer.json()["error"]["field"]) == (403, name)
    with guarded.http("viewer", **{name: "203.0.113.7"}) as http:
        assert http.post("/v1/flights/verbs/data.list", json={}).status_code == 200


HERE = "http://127.0.0.1:9"


def under_way(site: Site, project: str = "flights") -> Job:
    """Return a job that a worker has begun."""
    call = site.context.dispatcher.call
    site.context.dispatcher.write(project, SERVICE_ACTOR, lambda tx: tx.start_job("loop.evaluate", "flights/x:y"))
    args = {"worker": "wrk_1", "kinds": ["loop.evaluate"], "slots": {"work": 99}}
    (job,) = call("jobs.claim", args, actor=SERVICE_ACTOR, project=SYSTEM)
    return job  # type: ignore[no-any-return]


def token_of(job: Job, attempt: int | None = None) -> str:
    claim = JobClaim(job.project, job.job_id, job.attempt if attempt is None else attempt)
    return job_token(worker_token(SERVICE_TOKEN), claim)


def allowed(site: Site, role: str, project: str) -> set[str]:
    """Return the verbs that a caller is let into: an argument that nobody knows is told to those only."""
    with site.http(role) as http:
        return {
            name
            for name in VERBS
            if http.post(f"/v1/{project}/verbs/{name}", json={"no_such_argument": 1}).status_code != 403
        }


def test_a_gateway_may_do_what_gateways_need_and_nothing_else(guarded: Site) -> None:
    guarded.tokens["gateway"] = gateway_token(SERVICE_TOKEN, HERE)
    assert allowed(guarded, "gateway", "flights") == {
        *("access.note_refused", "chunks.register", "data.get", "projects.list", "serving.report_failure"),
    }
    above = {
        *("data.personal_columns", "data.topics"),
        *("serving.acknowledge", "serving.external_deployments", "serving.releases_after"),
    }
    assert allowed(guarded, "gateway", SYSTEM) - allowed(guarded, "gateway", "flights") == {*above, "tokens.live"}


def test_a_gateway_speaks_for_its_own_address_alone(guarded: Site) -> None:
    guarded.tokens["gateway"] = gateway_token(SERVICE_TOKEN, HERE)
    args: dict[str, Any] = {"gateway": "gw_1", "position": 0}
    eve = guarded.call("serving.acknowledge", "gateway", SYSTEM, address="http://eve", **args)
    assert (eve.status_code, eve.json()["error"]["rule"]) == (403, HERE)
    assert guarded.call("serving.acknowledge", "gateway", SYSTEM, address=HERE, **args).status_code == 200


def test_a_worker_takes_jobs_and_does_nothing_by_itself(guarded: Site) -> None:
    guarded.tokens["worker"] = worker_token(SERVICE_TOKEN)
    assert allowed(guarded, "worker", "flights") == {*("jobs.fail", "jobs.finish", "jobs.hand_back", "projects.list")}
    assert allowed(guarded, "worker", SYSTEM) >= {"jobs.claim", "jobs.renew", "jobs.let_go"}


def test_a_job_is_let_into_its_project_while_that_attempt_is_under_way(guarded: Site) -> None:
    job = under_way(guarded)
    guarded.tokens |= {"job": token_of(job), "later": token_of(job, job.attempt + 1)}
    assert guarded.call("data.list", "job").status_code == 200
    for project in ("other", SYSTEM):
        assert guarded.call("data.list", "job", project).status_code == 403
    assert guarded.call("data.list", "later").status_code == 401
    guarded.context.dispatcher.call(
        "jobs.finish", {"job_id": job.job_id, "worker": "wrk_1"}, actor=SERVICE_ACTOR, project="flights"
    )
    guarded.context.gatekeeper._remembered.clear()  # as a second later
    assert guarded.call("data.list", "job").status_code == 401


def test_a_job_edits_the_project_that_was_lent_to_it_and_no_other_until_the_loan_ends(guarded: Site) -> None:
    dispatcher = guarded.context.dispatcher
    dispatcher.call("projects.create", {"name": "foreign"}, actor=LOCAL_ACTOR, project=SYSTEM)
    job, write = under_way(guarded), dispatcher.write
    guarded.tokens |= {"job": token_of(job), "stranger job": token_of(under_way(guarded, "foreign"))}
    for borrower in ("job", "stranger job"):
        assert guarded.call("data.list", borrower, "other").status_code == 403
    write("other", SERVICE_ACTOR, lambda tx: tokens.lend(tx, digest_bytes(guarded.tokens["job"].encode())))
    assert allowed(guarded, "job", "other") == allowed(guarded, "editor", "flights")
    with guarded.http("job") as http:
        assert http.put("/v1/other/blobs", content=b"rows").status_code == 200
    denied = {"job": (SYSTEM, "foreign"), "stranger job": ("other", "flights", SYSTEM)}
    for borrower, project in ((borrower, project) for borrower, names in denied.items() for project in names):
        assert guarded.call("data.list", borrower, project).status_code == 403
    write("other", SERVICE_ACTOR, lambda tx: tokens.end_loans(tx, "it is over"))
    assert guarded.call("data.list", "job", "other").status_code == 403
    assert guarded.call("data.list", "job").status_code == 200


def test_what_was_lent_to_a_job_ends_with_the_attempt_though_nobody_ended_the_loan(guarded: Site) -> None:
    job = under_way(guarded)
    guarded.tokens["job"] = token_of(job)
    digest = digest_bytes(guarded.tokens["job"].encode())
    guarded.context.dispatcher.write("other", SERVICE_ACTOR, lambda tx: tokens.lend(tx, digest))
    assert guarded.call("data.list", "job", "other").status_code == 200
    call, ended = guarded.context.dispatcher.call, {"job_id": job.job_id, "worker": "wrk_1"}
    call("jobs.hand_back", ended, actor=SERVICE_ACTOR, project="flights")
    call("jobs.cancel", {"job_id": job.job_id}, actor=SERVICE_ACTOR, project="flights")
    guarded.context.gatekeeper._remembered.clear()  # as a second later
    assert guarded.call("data.list", "job", "other").status_code == 401


def test_a_job_makes_no_tokens_decides_nothing_and_registers_nothing_that_it_did_not_train(guarded: Site) -> None:
    guarded.tokens["job"] = token_of(under_way(guarded))
    may = allowed(guarded, "job", "flights")
    denied = {"tokens.create", "tokens.live", "approvals.approve", "registry.force_gates", "jobs.claim", "jobs.finish"}
    assert not may & {*denied, "serving.release", "projects.set_clock"}
    assert may >= {"data.get_version", "chunks.register", "registry.record_gates"}
    args: dict[str, Any] = {"model": "m", "flavour": "onnx", "files": []}
    answer = guarded.call("registry.register", "job", **args, signature={"task": "binary", "inputs": []})
    assert (answer.status_code, answer.json()["error"]["value"]) == (403, "loop.evaluate"), answer.text


def test_a_service_token_of_one_project_registers_nothing_as_trained_and_sees_no_other(guarded: Site) -> None:
    made = guarded.context.dispatcher.call(
        "tokens.create", {"actor": "service:mine", "role": "service"}, actor=SERVICE_ACTOR, project="flights"
    )
    guarded.tokens["mine"] = made.secret
    args: dict[str, Any] = {"model": "m", "flavour": "onnx", "files": []}
    answer = guarded.call("registry.register", "mine", **args, signature={"task": "binary", "inputs": []})
    assert answer.status_code == 403, answer.text
    for verb in ("tokens.live", "data.personal_columns", "jobs.claim", "serving.acknowledge"):
        for project in ("flights", "other", SYSTEM):
            assert guarded.call(verb, "mine", project).status_code == 403, (verb, project)


@contextlib.contextmanager
def slow_rate(site: Site) -> Iterator[None]:
    """Let each token, and the strangers at an address, send three requests and then none for long."""
    gatekeeper = site.context.gatekeeper
    kept, gatekeeper._rates = gatekeeper._rates, CallerRates(1)
    gatekeeper._rates._tokens, gatekeeper._rates._strangers = Rates(0.01, 300.0), Rates(0.01, 300.0)
    try:
        yield
    finally:
        gatekeeper._rates = kept


def test_who_sends_too_much_is_told_when_to_come_back_and_others_are_answered(guarded: Site) -> None:
    with slow_rate(guarded):
        answers = [guarded.call("data.list", "viewer") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[3].json()["error"]["code"] == "too_many_requests"
        assert int(answers[3].headers["retry-after"]) > 0
        with guarded.http("viewer") as http:
            assert http.get("/metrics").status_code == 429
        assert guarded.call("data.list", "editor").status_code == 200
        assert [guarded.call("data.list", "service").status_code for _ in range(4)] == [200] * 4


def test_who_sends_no_token_is_counted_among_the_strangers_where_one_is_asked_for(guarded: Site) -> None:
    with slow_rate(guarded), guarded.http() as http:
        assert guarded.call("data.list", "viewer").status_code == 200
        answers = [http.post("/v1/flights/verbs/data.list", json={}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert http.get("/metrics", headers={"authorization": "Basic eDp4"}).status_code == 429
        assert guarded.call("data.list", "viewer").status_code == 200


def test_another_secret_each_time_is_no_way_past_the_limit(guarded: Site) -> None:
    with slow_rate(guarded), guarded.http() as http:
        assert guarded.call("data.list", "viewer").status_code == 200
        answers = [
            http.post("/v1/flights/verbs/data.list", json={}, headers={"authorization": f"Bearer lwt_guess{number}"})
            for number in range(4)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        guarded.context.gatekeeper._forget(frozenset({"tokens"}))
        assert [guarded.call("data.list", role).status_code for role in ("viewer", "service")] == [200, 200]
        guarded.tokens["worker"] = worker_token(SERVICE_TOKEN)
        assert guarded.call("data.list", "worker").status_code == 403  # known for what it is
