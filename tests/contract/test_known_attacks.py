"""The classes of holes that platforms like this one had in recent years: one test each, through the real surface.

Each is tried as those would who may least: without a token, as a viewer, as an editor of one project.
"""

import hashlib
import io
import re
import shutil
import socket
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from loopwright.config import load_settings
from loopwright.data import SourceSpec
from loopwright.data.contracts import documents
from loopwright.data.sources import SourceRoots, find_files
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, LoopwrightError
from loopwright.kernel.plugins import load_plugin, plugin_names
from loopwright.kernel.verbs import VERBS
from loopwright.pipelines import packing
from loopwright.server.app import create_app
from loopwright.store.jobs import claim
from loopwright.store.work import do_job
from loopwright.wire.credentials import gateway_token
from loopwright.wire.web import uvicorn_config
from loopwright.worker.context import WorkerContext
from loopwright.worker.context import make_context as make_worker
from loopwright.worker.tasks import Task
from tests.server.site import SERVICE_TOKEN, Site, serve
from tests.waiting import PATIENCE_S
from tools import check_locks

SOURCE = Path(__file__).parents[2] / "src"
WEAK = ("", "viewer", "editor")
"""Who tries: nobody, a viewer, an editor of ``flights``."""
ENCODED = [
    "../x",
    "..%2fx",
    "%2e%2e/x",
    "..%252fx",
    "..;/x",
    "//x",
    "%2f%2fx",
    "#/../x",
    "x%00",
    "..%5cx",
    "%c0%ae%c0%ae/x",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from serve(tmp_path_factory.mktemp("attacks"), is_open=False)


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from serve(tmp_path_factory.mktemp("open"), is_open=True)


def refused(answer: httpx.Response) -> bool:
    return 400 <= answer.status_code < 500


def read_as_source(site: Site, worker: WorkerContext, location: str) -> str:
    """Import a path as an editor would, by a worker; return all that a viewer reads of it and what the worker tells."""
    spec = {"name": "rows", "source": {"kind": "csv", "location": location}, "key": ["a"], "time": None}
    assert site.call("data.declare", "editor", spec=spec).status_code == 200
    started = site.call("data.start_import", "editor", dataset="rows", operation="replace").json()
    (claimed,) = worker.call(claim, worker="w", kinds=[started["kind"]])
    told = "nothing was refused"
    try:
        told = str(do_job(worker.for_task(Task(claimed)), claimed))
    except LoopwrightError as error:
        told = str(error.to_dict())
    worker.call("jobs.finish", {"job_id": claimed.job_id, "worker": "w"}, "flights")
    shown = site.call("data.import_result", "viewer", job_id=claimed.job_id)
    return told + shown.text + site.call("audit.list", "viewer").text


def test_01_a_local_path_is_no_source_and_no_artifact(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the platform is read as rows, wherever its settings put it: below a root, under another name."""
    root = tmp_path / "data"
    secret = "a,lws_key_of_checkpoints"
    kept = {
        "LOOPWRIGHT_STATE": root / "state",
        "LOOPWRIGHT_CHECKPOINT_KEY": root / "keys.txt",
        "LOOPWRIGHT_CHECKPOINTS": f"file://{root}/signed",
        "LOOPWRIGHT_BLOBS": f"file://{root}/blobs",
        "LOOPWRIGHT_DATABASE": f"sqlite:///{root}/meta.db",
        "LOOPWRIGHT_HIDDEN": f"{root}/closed:{root}/closed.csv",
        "XDG_CONFIG_HOME": root / "conf",
        "LOOPWRIGHT_SOURCE_ROOTS": root,
    }
    for name, value in kept.items():
        monkeypatch.setenv(name, str(value))
    files = ["state/service.token", "keys.txt", "signed/1.csv", "blobs/ab/cd.csv", "meta.db", "meta.db-wal"]
    files += ["closed/deep/1.csv", "closed.csv", "conf/loopwright/tokens.csv", "open/fine.csv"]
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(secret + "\n1,2\n" if name != "open/fine.csv" else "a\n1\n")
    (root / "open" / "away").symlink_to(root / "closed")
    (root / "link.csv").symlink_to(root / "keys.txt")
    (root / "again.csv").hardlink_to(root / "keys.txt")
    real = msgspec.structs.replace(load_settings(), url=site.url, service_token=SERVICE_TOKEN)
    worker = make_worker(real, tmp_path / "worker", {})
    told = read_as_source(site, worker, f"{root}/open/fine.csv")
    assert "ready" in told
    refused_paths = [f"{root}/{name}" for name in files if name != "open/fine.csv"]
    refused_paths += [
        f"{root}/{name}" for name in ("open/away/deep/1.csv", "link.csv", "again.csv", "open/../keys.txt")
    ]
    refused_paths += [f"{root}/{name}" for name in ("*.txt", "k[e]ys.txt", "**/1.csv", "closed", "open/away", "meta.*")]
    refused_paths += ["/proc/self/environ", "/etc/passwd", "/dev/stdin", "/etc/shadow"]
    for path in refused_paths:
        roots = SourceRoots(worker.source_roots, worker.closed)
        with (
            pytest.raises(InvalidInput, match="this path leads to where sources may not lie"),
            find_files(SourceSpec("csv", path), roots),
        ):
            pass
    for path in (f"{root}/keys.txt", f"{root}/closed"):
        told = read_as_source(site, worker, path)
        assert "this path leads to where sources may not lie" in told
        assert "lws_key" not in told
    worker.children.close()
    for uri in ("file:///etc/passwd", "/etc/passwd", "../../service.token"):
        for role in WEAK:
            assert refused(site.call("tracking.log_artifact", role, run_id="run_1", path=uri, digest="a" * 64))
            assert refused(site.call("tracking.log_artifact", role, run_id="run_1", path="x", digest=uri))


@pytest.mark.parametrize("spelling", ENCODED)
def test_02_no_spelling_of_a_path_leads_elsewhere(site: Site, spelling: str) -> None:
    for role in WEAK:
        with site.http(role) as http:
            for path in (f"/v1/flights/blobs/{spelling}", f"/static/{spelling}", f"/p/flights/data/{spelling}"):
                answer = http.get(path)
                assert answer.status_code in (303, 307, 400, 401, 403, 404, 422), (path, answer.status_code)
                assert SERVICE_TOKEN not in answer.text


def test_03_an_archive_writes_nothing_outside(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for name in ("../out.py", "/out.py", "a/../../out.py", link):
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            archive.writestr(name, "/etc/passwd")
        packed = body.getvalue()
        with pytest.raises(LoopwrightError):
            packing.unpack(packed, tmp_path / "in")
        assert not (tmp_path / "out.py").exists()


def test_04_no_model_is_unpickled() -> None:
    known = {path.stem for path in (SOURCE / "loopwright/registry/flavours").glob("*.py")} - {"__init__", "base"}
    loading = re.compile(r"\b(?:pickle|cloudpickle|dill|joblib|torch)\.loads?\(")
    for path in (SOURCE / "loopwright/registry").rglob("*.py"):
        assert not loading.search(path.read_text()), path
    assert known >= {"lightgbm", "onnx", "sklearn", "constant"}
    assert not {"pickle", "joblib", "pyfunc"} & set(plugin_names("flavours"))


def test_05_no_message_is_unpickled(site: Site) -> None:
    loading = re.compile(r"^\s*(?:import|from) (?:pickle|cloudpickle|dill|marshal|shelve|yaml)\b", re.MULTILINE)
    contracts = SOURCE / "loopwright/data/contracts/documents.py"
    for path in (SOURCE / "loopwright").rglob("*.py"):
        assert path == contracts or not loading.search(path.read_text()), path
    assert not re.search(r"yaml\.(?:load|unsafe|full|Full|Unsafe|Loader|CLoader)", contracts.read_text())
    for tag in ("!!python/object/apply:os.system [true]", "!!python/name:os.system", "!!python/object/new:set [[1]]"):
        with pytest.raises(InvalidInput, match="tag"):
            documents.read_document(f"kind: {tag}".encode())
    for role in WEAK:
        with site.http(role, **{"content-type": "application/octet-stream"}) as http:
            answer = http.post("/v1/flights/verbs/tracking.start_run", content=b"\x80\x04cos\nsystem\n(S'true'\ntR.")
            assert refused(answer)


def test_06_no_route_answers_without_a_token(site: Site) -> None:
    told = {"/healthz", "/", "/theme", "/sign-in", "/sign-out"}
    with site.http() as http:
        for route in create_app(site.context).routes:
            path = re.sub(r"\{[^}]*\}", "x", route.path.replace("{verb}", "approvals.approve"))  # type: ignore[attr-defined]
            if path in told or path.startswith(("/static", "/x")):
                continue
            for method in route.methods or {"GET"}:  # type: ignore[attr-defined]
                answer = http.request(method, path)
                is_refused = answer.status_code in (401, 405) or "/sign-in" in answer.headers.get("location", "")
                assert is_refused, (method, path, answer.status_code)


def test_07_a_token_opens_no_object_of_another_project(site: Site) -> None:
    with site.http("stranger") as http:
        digest = http.put("/v1/other/blobs", content=b"personal rows of another project").json()["digest"]
    run = site.call("tracking.start_run", "stranger", "other", experiment="theirs").json()["run_id"]
    for role in WEAK:
        with site.http(role) as http:
            assert http.get(f"/v1/other/blobs/{digest}").status_code in (401, 403)
            assert http.get(f"/v1/flights/blobs/{digest}").status_code in (401, 404)
        assert site.call("tracking.get_run", role, "other", run_id=run).status_code in (401, 403)
        assert site.call("tracking.get_run", role, "flights", run_id=run).status_code in (401, 404)


def test_08_no_side_channel_of_an_object_goes_past_its_permission(site: Site) -> None:
    """The same verb by the router's way, under a waiting call, by a page: each asks the same question first."""
    for role in ("", "viewer"):
        with site.http(role) as http:
            for path in ("verbs/tokens.create", "verbs/tokens%2Ecreate", "verbs/tokens.create?wait_s=1"):
                args = {"actor": "person:eve", "role": "admin"}
                assert http.post(f"/v1/flights/{path}", json=args).status_code in (401, 403), path
            assert http.post("/p/flights/do/tokens.create", data=args).status_code in (303, 401, 403, 404)
    assert not [one for one in site.call("tokens.list", "admin").json() if one["actor"] == "person:eve"]


def test_09_no_listing_holds_a_secret(site: Site) -> None:
    made = site.call("tokens.create", "admin", actor="person:new", role="viewer").json()
    url = "https://hooks.example.org/T0/secret-of-the-hook"
    spec = {"name": "ext", "model": "ext", "task": "binary", "is_external": True}
    declared = site.call("serving.declare", "editor", spec=spec)
    assert declared.status_code == 200, declared.text
    monitor = {"every_us": 86_400_000_000, "channels": ["log", f"webhook:{url}"]}
    told = site.call("monitoring.declare", "editor", deployment="ext", spec=monitor)
    assert told.status_code == 200, told.text
    assert "hooks.example.org" in told.text
    assert "secret-of" not in told.text
    for role in ("viewer", "editor", "admin"):
        for verb in ("tokens.list", "audit.list", "projects.list", "serving.gateways", "jobs.list", "monitoring.list"):
            text = site.call(verb, role).text
            assert "secret-of" not in text
            assert made["secret"] not in text
            assert hashlib.sha256(made["secret"].encode()).hexdigest() not in text
            assert SERVICE_TOKEN not in text


def test_10_no_secret_is_sent_to_an_address_that_somebody_named(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as eve:
        address = f"http://127.0.0.1:{eve.getsockname()[1]}"
        args: dict[str, Any] = {"gateway": "eve", "address": address, "position": 0}
        for role in WEAK:
            assert site.call("serving.acknowledge", role, SYSTEM, **args).status_code in (401, 403)
        site.tokens["gateway"] = gateway_token(SERVICE_TOKEN, "http://10.0.0.1:8401")
        assert site.call("serving.acknowledge", "gateway", SYSTEM, **args).status_code == 403
        eve.settimeout(0.1)
        site.call("loop.why", "viewer", prediction_id="pred_0" + "0" * 25)
        with pytest.raises(TimeoutError):
            eve.accept()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[64:ff9b::a9fe:a9fe]", "[::ffff:127.0.0.1]"]
)
def test_11_no_web_hook_calls_into_the_network_of_the_platform(host: str) -> None:
    send = load_plugin("alert_channels", "webhook")
    with pytest.raises(InvalidInput, match="private networks"):
        send(f"http://{host}:1/latest/meta-data", None, frozenset())


def test_12_what_is_an_admins_is_nobody_elses(site: Site) -> None:
    for name, verb in VERBS.items():
        if verb.surface == "public" and verb.role.value in ("admin", "approver"):
            for role in WEAK:
                assert site.call(name, role, no_such_argument=1).status_code in (401, 403), (role, name)


def test_13_there_is_one_way_in(site: Site) -> None:
    """Bearer header and cookie lead to the same question; a name and a password lead nowhere."""
    with site.http() as http:
        assert http.get("/p/flights", auth=("admin", "password1234")).status_code in (303, 401)
        for secret in ("lwu_x", site.tokens["viewer"]):  # a token has no business in a cookie
            cookie = {"cookie": f"loopwright_session={secret}"}
            assert http.post("/v1/flights/verbs/audit.list", json={}, headers=cookie).status_code == 401
    session = site.context.dispatcher.begin_session(site.tokens["viewer"])
    with site.http(authorization=f"Bearer {session}") as http:
        assert http.post("/v1/flights/verbs/audit.list", json={}).status_code == 401


def test_14_no_foreign_name_leads_a_browser_here(open_site: Site) -> None:
    with open_site.http(host="evil.example") as http:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            for path in ("/v1/flights/verbs/audit.list", "/v1/flights/blobs", "/p/flights", "/metrics"):
                answer = http.request(method, path, json={})
                assert answer.status_code in (303, 401, 403, 404, 405), (method, path, answer.status_code)


def test_15_a_page_of_another_site_changes_nothing(site: Site, open_site: Site) -> None:
    for tried, role in ((site, "editor"), (open_site, "")):
        with tried.http(role, origin="https://evil.example") as http:
            answer = http.post("/v1/flights/verbs/tracking.start_run", json={"experiment": "evil"})
            assert answer.status_code == 403
        assert "evil" not in tried.call("tracking.search_runs", "viewer" if role else "").text


def test_16_what_somebody_wrote_is_text_on_a_page_and_a_file_is_no_page(site: Site) -> None:
    evil = "<script>alert(1)</script>"
    run = site.call("tracking.start_run", "editor", experiment="xss", tags={"note": evil}).json()["run_id"]
    with site.http("viewer") as http:
        page = http.get(f"/p/flights/runs/{run}", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert evil not in page.text
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
    with site.http("editor") as http:
        digest = http.put("/v1/flights/blobs", content=evil.encode()).json()["digest"]
        shown = http.get(f"/v1/flights/blobs/{digest}")
    assert (shown.headers["x-content-type-options"], shown.headers["content-disposition"]) == ("nosniff", "attachment")


@pytest.mark.parametrize("secret", ["' OR 1=1 --", "x' UNION SELECT * FROM tokens --", '"; DROP TABLE tokens; --'])
def test_17_the_question_for_a_token_takes_no_sql(site: Site, secret: str) -> None:
    with site.http(authorization=f"Bearer {secret}") as http:
        assert http.post("/v1/flights/verbs/audit.list", json={}).status_code == 401
    assert site.call("tokens.list", "admin").status_code == 200


def test_18_a_template_fills_names_and_looks_nothing_up(site: Site) -> None:
    for role in WEAK:
        spec = {"name": "x", "steps": [{"name": "a", "kind": "loop.command", "inputs": {}}], "params": {}}
        assert refused(site.call("pipelines.declare", role, spec=spec)), role
    evil = "{rows.__class__.__globals__}{{7*7}}${7*7}"
    run = site.call("tracking.start_run", "editor", experiment="t", tags={"note": evil}).json()["run_id"]
    with site.http("viewer") as http:
        page = http.get(f"/p/flights/runs/{run}", headers={"accept": "text/html"}).text
    assert "49" not in page.split("{{7*7}}")[0][-20:]
    assert "{{7*7}}" in page


def test_19_what_is_asked_costs_no_more_than_is_allowed(site: Site) -> None:
    for role in WEAK:
        for args in ({"order_by": "a" + " " * 100_000 + "b"}, {"filter": "metrics.a > " + "1" * 100_000}):
            assert refused(site.call("tracking.search_runs", role, **args))
    assert refused(site.call("tracking.start_run", "editor", experiment="e", tags={"a": "x" * 1_000_000}))
    limited = uvicorn_config(None, "127.0.0.1", 1).http
    assert getattr(limited, "__name__", "") == "LimitedProtocol"


def test_20_nothing_lies_where_others_of_the_machine_write(site: Site) -> None:
    with site.http("editor") as http:
        http.put("/v1/flights/blobs", content=b"rows")
    folder = site.context.settings.state_dir
    for path in [folder / "uploads", *(folder / "blobs").rglob("*")]:
        assert not path.stat().st_mode & 0o022, path
    text = "".join(path.read_text() for path in (SOURCE / "loopwright").rglob("*.py"))
    assert "mktemp(" not in text.replace("mkdtemp(", "")
    assert f'"{tempfile.gettempdir()}/' not in text


def test_21_there_is_no_default_account(site: Site) -> None:
    for secret in ("admin", "password", "password1234", "lws_", "lwt_", "loopwright"):
        with site.http(authorization=f"Bearer {secret}") as http:
            assert http.post("/v1/flights/verbs/audit.list", json={}).status_code == 401


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc", "a\\b", "a\0b", "", "a" * 129, "a:b", "a b", "é"])
def test_22_a_name_is_no_path(site: Site, name: str) -> None:
    for role in WEAK:
        assert refused(site.call("registry.set_alias", role, model=name, alias="x", version=1, reason="r"))
        assert refused(site.call("tracking.start_run", role, experiment=name))
    assert refused(site.call("projects.create", "service", SYSTEM, name=name))


def test_23_nothing_is_installed_or_run_by_being_there(site: Site) -> None:
    """No start-up hook in the package, no code that runs by being named: code is known by the digest of its bytes."""
    assert not list(SOURCE.rglob("*.pth"))
    assert not list(SOURCE.rglob("sitecustomize.py"))
    for digest in ("../../evil", "/tmp/evil", "a" * 63, "A" * 64):
        code = {"digest": digest, "module": "os", "qualname": "system", "function_digest": "a" * 64}
        spec = {"name": "x", "steps": [{"name": "a", "kind": "call", "function": code}], "params": {}}
        for role in WEAK:
            assert refused(site.call("pipelines.declare", role, spec=spec)), digest
    assert CodeRef.__struct_fields__[0] == "digest"


def test_23_what_is_installed_is_known_by_its_hash(tmp_path: Path) -> None:
    """The locks of this very tree hold, each file by a hash; one that does not is found.

    What ``make`` and images install goes by them: no file without a hash, and nothing that is fetched to build.
    """
    root = SOURCE.parent
    assert list(check_locks.find(root)) == []
    shutil.copytree(root / "locks", tmp_path / "locks")
    shutil.copy(root / "pyproject.toml", tmp_path)
    assert list(check_locks.find(tmp_path)) == []
    for lock in (tmp_path / "locks").iterdir():
        sound = lock.read_text()
        name = re.findall(r"^([a-z0-9-]+)==", sound, re.MULTILINE)[-1]
        head, _, pinned = sound.rpartition(f"{name}==")
        for changed, told in (
            (re.sub(r" \\\n +--hash=\S+", "", pinned), f"{name} has no hash"),
            (pinned + "--extra-index-url https://evil.example\n", "a lock names where files come from"),
        ):
            lock.write_text(f"{head}{name}=={changed}")
            found = [finding.rule for finding in check_locks.find(tmp_path)]
            assert any(rule.startswith(told) for rule in found), (lock.name, told, found)
        lock.write_text(sound)
        lock.unlink()
        assert "a lock is missing" in [finding.rule for finding in check_locks.find(tmp_path)]
        lock.write_text(sound)
    recipe = (root / "Makefile").read_text()
    locked = re.findall(r"-r locks/\S+", recipe)
    assert locked
    assert len(re.findall(r"--require-hashes (?:--no-build-isolation )?-r locks/", recipe)) == len(locked)


def test_24_what_was_not_looked_at_is_refused(site: Site) -> None:
    """A flavour nobody knows, a file that cannot be read, a gate report without gates: none of them passes."""
    args: dict[str, Any] = {"model": "m", "files": [], "signature": {"task": "binary", "inputs": []}}
    for role in WEAK:
        for flavour in ("pickle", "torch", "mlflow", "", "../x"):
            assert refused(site.call("registry.import_model", role, flavour=flavour, **args))
        report = {"model": "m", "version": 1, "results": [], "evidence": {}}
        assert site.call("registry.record_gates", role, **report).status_code in (401, 403)
    call = site.context.dispatcher.call
    for actor in (LOCAL_ACTOR, SERVICE_ACTOR):
        with pytest.raises(LoopwrightError):
            call("registry.import_model", {**args, "flavour": "pickle"}, actor=actor, project="flights")


def test_a_request_line_that_is_no_http_ends_there(site: Site) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"root:" not in connection.recv(4096)
