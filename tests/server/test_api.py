"""Verbs and blobs over HTTP: bad requests, limits, waiting, and blobs of one's own project only."""

import gzip
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.governance import LOCAL_ACTOR
from loopwright.kernel.verbs import VERBS
from loopwright.loop.engine.clock_advance import Advanced
from loopwright.server.api import blobs, verbs
from loopwright.store import sql as store_sql
from loopwright.store.sql import Prospect
from loopwright.wire.credentials import gateway_token, worker_token
from tests.server.site import SERVICE_TOKEN, Site
from tests.waiting import PATIENCE_S, wait_until


def test_a_verb_answers_with_json(opened: Site) -> None:
    answer = opened.call("tracking.start_run", experiment="late")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["experiment"] == "late"


def test_an_unknown_verb_names_the_nearest(opened: Site) -> None:
    answer = opened.call("tracking.start_rum")
    assert answer.status_code == 404
    assert "tracking.start_run" in answer.json()["error"]["next_step"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b'"x"', b"[" * 100_000, b'{"experiment": 3}', b'{"experiment": "a", "x": 1}']
)
def test_a_malformed_body_is_a_clear_error(opened: Site, body: bytes) -> None:
    with opened.http() as http:
        answer = http.post("/v1/flights/verbs/tracking.start_run", content=body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "invalid_input"
    assert error["field"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("verb", ["tracking.start_run", "tracking%2Estart_run"])
def test_a_compressed_body_is_read_and_another_compression_is_told(opened: Site, verb: str) -> None:
    packed = gzip.compress(b'{"experiment": "late"}')
    with opened.http() as http:
        read = http.post(f"/v1/flights/verbs/{verb}", content=packed, headers={"content-encoding": "gzip"})
        other = http.post(f"/v1/flights/verbs/{verb}", content=packed, headers={"content-encoding": "br"})
    assert (read.status_code, read.json()["experiment"]) == (200, "late")
    assert (other.status_code, other.json()["error"]["field"]) == (415, "Content-Encoding")


@pytest.mark.parametrize("verb", ["tracking.start_run", "jobs.list"])
def test_a_body_beyond_the_limit_is_refused(opened: Site, verb: str) -> None:
    most = verbs.MOST_PUBLIC_BYTES
    packed = {"content": gzip.compress(b" " * (most + 1)), "headers": {"content-encoding": "gzip"}}
    for sent in ({"content": b" " * (most + 1)}, packed):
        with opened.http() as http:
            answer = http.post(f"/v1/flights/verbs/{verb}", **sent)
        assert answer.status_code == 413


def test_what_only_the_platform_says_may_be_larger_and_only_from_the_platform(
    guarded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "MOST_PUBLIC_BYTES", 1000)
    body = b'{"experiment": "a"}' + b" " * 1000
    statuses = []
    for role in ("service", "viewer"):
        with guarded.http(role) as http:
            statuses.append(http.post("/v1/flights/verbs/chunks.register", content=body).status_code)
    assert statuses == [422, 413]


@pytest.mark.parametrize("verb", ["tracking.start_run", "jobs.list"])
def test_a_large_body_is_not_read_where_everybody_would_wait(
    opened: Site, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    real = verbs.read_arguments

    def read(called: Any, body: bytes) -> Any:
        threads.append(threading.current_thread().name)
        return real(called, body)

    monkeypatch.setattr(verbs, "read_arguments", read)
    with opened.http() as http:
        for size in (0, verbs.READ_HERE_BYTES):
            http.post(f"/v1/flights/verbs/{verb}", content=b"{}" + b" " * size)
    here, there = threads
    assert "AnyIO worker thread" not in here
    assert "AnyIO worker thread" in there


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**200])
def test_a_number_no_column_takes_is_a_clear_error(opened: Site, number: int) -> None:
    assert opened.call("audit.list", before=number).status_code == 422


def test_an_idempotency_key_runs_a_verb_once(opened: Site) -> None:
    with opened.http(**{"idempotency-key": "k1"}) as http:

        def start(_: int) -> str:
            answer = http.post("/v1/flights/verbs/tracking.start_run", json={"experiment": "once"})
            return str(answer.json()["run_id"])

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(start, range(8)))) == 1
        other = http.post("/v1/flights/verbs/tracking.start_run", json={"experiment": "twice"})
    assert other.status_code == 409


def test_operations_of_one_project_keep_no_thread_from_others(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for jobs that may take a quarter of an hour; an editor may call as many as they like."""
    may_end, lock = threading.Event(), threading.Lock()
    running, most = 0, 0

    def wait_for_jobs(context: Any, *, to: Any) -> Advanced:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert context.project == "other" or may_end.wait(PATIENCE_S)
        with lock:
            running -= 1
        return Advanced(to, 0)

    waits = msgspec.structs.replace(VERBS["clock.advance"], function=wait_for_jobs)
    monkeypatch.setitem(VERBS, "clock.advance", waits)
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(guarded.call, "clock.advance", "editor", to=1) for _ in range(50)]
        wait_until(lambda: running >= verbs.MOST_OPERATIONS)
        guarded.context.gatekeeper._remembered.clear()
        assert guarded.call("audit.list", "viewer").status_code == 200
        assert guarded.call("clock.advance", "stranger", "other", to=2).json() == {"clock_at": 2, "timers": 0}
        may_end.set()
        assert {one.result().status_code for one in asked} == {200}
    assert most <= verbs.MOST_OPERATIONS + 1
    wait_until(lambda: not guarded.context.operation_limits)  # nothing is kept of a project once nobody asks


@pytest.fixture
def ages(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let callers wait for ages: who is answered at all was answered by an event, not by the end of a wait."""
    monkeypatch.setattr(verbs, "MOST_WAIT_S", 36_000.0)
    return "wait_s=36000"


def test_a_query_waits_until_there_is_an_answer(opened: Site, ages: str) -> None:
    def start() -> None:
        wait_until(lambda: opened.context.signal.waiting)
        opened.call("tracking.start_run", experiment="awaited")

    threading.Thread(target=start).start()
    with opened.http() as http:
        answer = http.post(f"/v1/flights/verbs/tracking.search_runs?{ages}", json={"experiment": "awaited"})
    assert len(answer.json()) == 1


def test_a_worker_that_waits_gets_the_job_that_comes(opened: Site, ages: str) -> None:
    def start() -> None:
        wait_until(lambda: opened.context.signal.waiting)
        opened.context.dispatcher.write(
            "flights", LOCAL_ACTOR, lambda tx: tx.start_job("wait.for", "flights/x:y", {}, job_id="job_waited")
        )

    threading.Thread(target=start).start()
    with opened.http("service") as http:
        answer = http.post(f"/v1/_system/verbs/jobs.claim?{ages}", json={"worker": "w", "kinds": ["wait.for"]})
    assert [job["job_id"] for job in answer.json()] == ["job_waited"]


def state(site: Site, job_id: str) -> str:
    return str(site.call("jobs.get", job_id=job_id).json()["state"])


def test_a_worker_that_died_while_it_waited_gets_no_job(
    opened: Site, ages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"worker": "dead", "kinds": ["of.the.dead"]}'
    head = (
        f"POST /v1/_system/verbs/jobs.claim?{ages} HTTP/1.1\r\n"
        f"Host: 127.0.0.1\r\nAuthorization: Bearer {opened.tokens['service']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, port = opened.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as worker:
        worker.sendall(head.encode() + body)
        wait_until(lambda: opened.context.signal.waiting)
    wait_until(lambda: opened.server.connections == 0)
    look, seen = store_sql.look_for_jobs, list[Prospect]()

    def look_and_tell(*args: Any) -> Prospect:
        prospect = look(*args)
        seen.extend([prospect] * prospect.is_there)
        return prospect

    monkeypatch.setattr(store_sql, "look_for_jobs", look_and_tell)
    opened.context.dispatcher.write(
        "flights", LOCAL_ACTOR, lambda tx: tx.start_job("of.the.dead", "flights/x:y", {}, job_id="job_not_taken")
    )
    wait_until(lambda: seen)  # whoever waits for the dead has been woken, and has seen the job
    wait_until(lambda: opened.context.signal.waiting or state(opened, "job_not_taken") != "queued")
    opened.context.stop_waiting()
    wait_until(lambda: not opened.context.signal.waiting)
    opened.context.is_stopping = False
    assert state(opened, "job_not_taken") == "queued"
    with opened.http("service") as http:
        answer = http.post("/v1/_system/verbs/jobs.claim", json={"worker": "live", "kinds": ["of.the.dead"]})
    assert [job["attempt"] for job in answer.json()] == [1]


def test_only_queries_wait_and_only_for_a_while(opened: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened.http() as http:
        for text in ("nan", "inf", "-1", "x", "1e999"):
            assert http.post(f"/v1/flights/verbs/audit.list?wait_s={text}", json={}).status_code == 422, text
        assert http.post("/v1/flights/verbs/tracking.start_run?wait_s=1", json={"experiment": "x"}).status_code == 422
        assert http.post("/v1/flights/verbs/jobs.list?wait_s=0.2", json={"kind": "never"}).json() == []
        monkeypatch.setattr(verbs, "MOST_WAIT_S", 0.2)
        assert http.post("/v1/flights/verbs/jobs.list?wait_s=36000", json={"kind": "never"}).json() == []


def test_a_blob_comes_back_to_its_own_project_only(guarded: Site) -> None:
    body = b"hello" * 100_000
    with guarded.http("editor") as http:
        put = http.put("/v1/flights/blobs", content=body)
    assert put.json() == {"digest": sha256(body).hexdigest(), "size_bytes": len(body)}
    path = f"blobs/{put.json()['digest']}"
    with guarded.http("viewer") as http:
        got = http.get(f"/v1/flights/{path}")
        assert got.content == body
        assert http.put("/v1/flights/blobs", content=b"x").status_code == 403
    with guarded.http("stranger") as http:
        assert http.get(f"/v1/flights/{path}").status_code == 403
        assert http.get(f"/v1/other/{path}").status_code == 404
        assert http.put("/v1/flights/blobs", content=b"x").status_code == 403
    assert list((guarded.context.settings.state_dir / "uploads").iterdir()) == []


def test_a_blob_that_the_disk_has_no_room_for_is_refused_as_such(opened: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    monkeypatch.setattr("loopwright.server.api.blobs.tempfile.NamedTemporaryFile", lambda **_: full.open("wb"))
    with opened.http() as http:
        for body in (b"hello", b"hello" * 100_000):  # the first fills no buffer
            answer = http.put("/v1/flights/blobs", content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")


@pytest.mark.parametrize("credential", [worker_token, lambda secret: gateway_token(secret, "http://127.0.0.1:8401")])
def test_parts_of_the_platform_that_have_the_store_put_no_blobs_into_projects(
    guarded: Site, credential: Callable[[str], str]
) -> None:
    guarded.tokens["part"] = credential(SERVICE_TOKEN)
    with guarded.http("part") as http:
        assert http.put("/v1/flights/blobs", content=b"x").status_code == 403
        assert http.get(f"/v1/flights/blobs/{'0' * 64}").status_code == 403


def test_a_digest_seen_elsewhere_opens_nothing(guarded: Site) -> None:
    with guarded.http("editor") as http:
        digest = http.put("/v1/flights/blobs", content=b"secret rows").json()["digest"]
    run = guarded.call("tracking.start_run", "stranger", "other", experiment="x").json()["run_id"]
    artifact = {"run_id": run, "path": "x", "digest": digest, "size_bytes": 11}
    assert guarded.call("tracking.log_artifact", "stranger", "other", **artifact).status_code == 404
    with guarded.http("stranger") as http:
        assert http.get(f"/v1/other/blobs/{digest}").status_code == 404


def test_a_blob_is_never_shown_as_a_page(guarded: Site) -> None:
    with guarded.http("editor") as http:
        digest = http.put("/v1/flights/blobs", content=b"<script>alert(1)</script>").json()["digest"]
        got = http.get(f"/v1/flights/blobs/{digest}")
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-disposition"] == "attachment"


TRAVERSALS = [
    *("..", "../x", "..%2fx", "..%252fx", "%2e%2e%2fserver.db", "%2e%2e/server.db", "....//server.db", "..;/server.db"),
    *("..%5cserver.db", "%252e%252e%252fserver.db", "..%00", "%00", "..#x", "..?x", "%2fetc%2fpasswd", "//etc/passwd"),
    *("file:%2f%2f%2fetc%2fpasswd", "%c0%ae%c0%ae%2f", "%ef%bc%8e%ef%bc%8e%2f", "..%c0%af", "0" * 64 + "%0a", "0" * 64),
    *("./server.db", "server.db", ".", "%2e", "~", "aa/../../server.db", "aa%2f..%2f..%2fserver.db", "x" * 5000),
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_spelling_of_a_path_leads_out(opened: Site, path: str) -> None:
    with opened.http() as http:
        for url in (f"/v1/flights/blobs/{path}", f"/v1/{path}/blobs/{'0' * 64}", f"/static/{path}"):
            answer = http.get(url)
            is_page = answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
            assert is_page or answer.status_code in (400, 404, 405, 422), f"{url}: {answer.status_code}"
            assert b"SQLite" not in answer.content
            assert b"root:" not in answer.content
        for url in (f"/v1/{path}/verbs/audit.list", f"/v1/flights/verbs/{path}"):
            assert http.post(url, json={}).status_code in (400, 404, 405, 422), url


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/v1/flights/blobs"), ("PUT", "/healthz"), ("POST", f"/v1/flights/blobs/{'0' * 64}")],
)
def test_a_wrong_method_is_told_as_every_error_is(opened: Site, method: str, path: str) -> None:
    with opened.http() as http:
        answer = http.request(method, path)
    assert answer.status_code == 405
    error = answer.json()["error"]
    assert (error["code"], error["rule"]) == ("method_not_allowed", answer.headers["allow"])


@pytest.mark.parametrize(
    "path", ["/v1/%00/verbs/audit.list", "/v1/flights/verbs/%00", "/p/a%00b", "/v1/flights/blobs/%00"]
)
def test_an_address_with_a_nul_is_none(opened: Site, path: str) -> None:
    with opened.http() as http:
        for method in ("GET", "POST"):
            error = http.request(method, path).json()["error"]
            assert (error["code"], error["field"]) == ("not_found", "address")


def test_no_address_leads_to_the_host_that_a_request_names(opened: Site) -> None:
    with opened.http() as http:
        for path in ("/healthz/", "/p/flights/monitoring/%0Ax/", "/v1/flights/verbs/audit.list/"):
            assert http.post(path, headers={"host": "localhost:1"}).status_code in (404, 405)
            assert http.get(path, headers={"host": "localhost:1"}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("PUT", "/v1/flights/blobs", "/v1/{project}/blobs"),
        ("POST", "/v1/flights/verbs/audit.list", "/v1/{project}/verbs/{name}"),
        ("POST", "/v1/flights/verbs/audit%2Elist", "/v1/{project}/verbs/{name}"),
        *(("POST", path, path) for path in ("/sign-in", "/theme")),
    ],
)
def test_a_caller_who_goes_in_the_middle_of_a_body_is_no_trouble(
    opened: Site, method: str, path: str, route: str, caplog: pytest.LogCaptureFixture
) -> None:
    def counted(status: str) -> float:
        labels = {"method": method, "route": route, "status": status}
        return opened.context.metrics.registry.get_sample_value("loopwright_http_requests_total", labels) or 0

    before = counted("499")
    with socket.create_connection(("127.0.0.1", opened.server.port)) as line:
        line.sendall(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\nhalf".encode())
    wait_until(lambda: counted("499") > before or counted("500"))
    assert (counted("500"), caplog.records) == (0, [])


@pytest.mark.slow
def test_an_upload_beyond_the_limit_leaves_nothing(opened: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "MOST_BLOB_BYTES", 1000)
    with opened.http() as http:
        assert http.put("/v1/flights/blobs", content=b"x" * 1001).status_code == 413
        assert http.put("/v1/flights/blobs", content=b"x" * 1000).status_code == 200
        assert http.put("/v1/nowhere/blobs", content=b"x").status_code == 404
    assert list(Path(opened.context.settings.state_dir / "uploads").iterdir()) == []
