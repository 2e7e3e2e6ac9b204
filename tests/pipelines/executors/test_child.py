"""Children: user code runs apart from the worker, stays warm, and is ended when it takes too much."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import Corrupt, InvalidInput, StepFailed
from loopwright.pipelines import ChildPool, Enclosure, packing
from loopwright.pipelines.executors import child
from loopwright.store.blobs import BlobStore
from loopwright.wire.walls import landlock_version
from tests.waiting import PATIENCE_S, wait_until

CODE = """
    import os
    import subprocess
    import sys
    import time
    import polars as pl
    STARTED = os.getpid()

    def pid():
        return STARTED
    def add(a, b=1):
        print("adds", a, b)
        return a + b
    def frame(rows, column):
        return rows.with_columns(pl.col(column) * 2)
    def lost(rows):
        return object()
    def fails(rows):
        print("before the end")
        return inner(rows)
    def inner(rows):
        raise ValueError("no rows on Sunday")
    def leaves():
        sys.exit(3)
    def dies(number=9):
        os.kill(os.getpid(), number)
    def sleeps(seconds, file):
        started = subprocess.Popen(["sleep", "3600"])
        with open(file + ".tmp", "w") as told:
            told.write(str(started.pid))
        os.rename(file + ".tmp", file)
        time.sleep(seconds)
    def eats():
        hold = bytearray(400_000_000)
        time.sleep(3600)
        return len(hold)
    def secrets():
        return sorted(name for name in os.environ if name.startswith(("LOOPWRIGHT_", "AWS_", "MY_")))
    def not_a_number():
        return {"auc": float("nan"), "rows": [1, 2**70]}
    def reads(path):
        return open(path).read()
    def writes(path):
        open(path, "w").write("x")
    def signals(pid):
        os.kill(pid, 0)
    def connects():
        import socket
        socket.create_connection(("127.0.0.1", 9))
    def digs(depth):
        for place in (".", os.environ["TMPDIR"]):
            os.chdir(place)
            for _ in range(depth):
                os.mkdir("x")
                os.chdir("x")
        os.chdir("/")
        return depth
    def shared():
        return os.environ["JOBLIB_TEMP_FOLDER"] == os.environ["TMPDIR"]
    def temporary():
        import tempfile
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("kept")
            file.seek(0)
            return file.read()
    def square(x):
        return x * x
    def forks():
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(square, [1, 2, 3])
    def claims(digest):
        sys.modules["__main__"].encode = lambda value, files: {"codec": "frame", "blob": digest, "rows": 1}
    def hands_over(path):
        import hashlib
        from loopwright.pipelines.codecs import base
        answer = base.Files.keep
        def keep(self, made):
            digest = answer(self, made)
            self.kept[digest] = path
            return digest
        base.Files.keep = keep
        return pl.DataFrame({"x": [1]})
    def says(text):
        body = text.encode()
        os.write(int(sys.argv[2]), len(body).to_bytes(4, "big") + body)
        time.sleep(3600)
    def promises(length):
        os.write(int(sys.argv[2]), length.to_bytes(4, "big"))
        time.sleep(3600)
    def begins(file):
        os.write(int(sys.argv[2]), (8).to_bytes(4, "big") + b"[1")
        with open(file, "w"):
            pass
        time.sleep(3600)
    def touches(rows):
        for name in os.listdir("../in"):
            os.chmod("../in/" + name, 0o777)
            os.utime("../in/" + name, (1, 1))
        return len(os.listdir("../in"))
    def remembers(what, seen=[]):
        seen.append(what)
        return seen
    def rewrites():
        open(__file__, "a").write("\\nSTARTED = -1\\n")
    def late(rows):
        return rows.filter(pl.col("delay") > 15)
    def wrong(rows):
        return rows.select("dealy")
    def nothing(rows):
        return None
    def config(beside):
        return open(os.path.join(os.path.dirname(__file__), "rates.json") if beside else "rates.json").read()
"""
Run = Callable[..., Any]


def is_gone(pid: int, *, or_zombie: bool = False) -> bool:
    """Say whether a process has ended. A zombie has ended and nobody has asked how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z" and or_zombie


@pytest.fixture
def pool(tmp_path: Path, blob_store: BlobStore) -> Iterator[ChildPool]:
    opened = ChildPool(tmp_path / "worker", blob_store, most_bytes=350_000_000)
    yield opened
    opened.close()


@pytest.fixture
def code(tmp_path: Path, blob_store: BlobStore) -> Callable[[str], CodeRef]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "project.py").write_text(textwrap.dedent(CODE))
    digest = blob_store.put(packing.pack_project(folder)).digest
    return lambda name: CodeRef(digest, "project", name, "0" * 64)


def test_values_pass_and_the_child_stays_warm(pool: ChildPool, code: Callable[[str], CodeRef]) -> None:
    first = pool.call(code("add"), {"a": 1, "b": 2})
    assert (first.output, first.log) == (3, b"adds 1 2\n")
    assert pool.call(code("add"), {"a": "x", "b": "y"}).log == b"adds x y\n"
    assert pool.call(code("add"), {"": 4, "b": 2}).output == 6
    pid = pool.call(code("pid"), {}).output
    assert pid not in (os.getpid(), 0)
    assert pool.call(code("pid"), {}).output == pid


def test_frames_pass_as_blobs(pool: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore) -> None:
    pl.DataFrame({"x": [1, 2]}).write_parquet(blob_store.url + "-in.parquet")
    given = {"codec": "frame", "blob": blob_store.put_file(Path(blob_store.url + "-in.parquet")).digest}
    output = pool.call(code("frame"), {"rows": given, "column": "x"}).output
    assert (output["codec"], output["rows"]) == ("frame", 2)
    again = pool.call(code("frame"), {"rows": output, "column": "x"}).output
    assert pl.read_parquet(blob_store.path(again["blob"]))["x"].to_list() == [4, 8]


def test_json_that_json_cannot_hold_passes_exactly(pool: ChildPool, code: Callable[[str], CodeRef]) -> None:
    output = pool.call(code("not_a_number"), {}).output
    assert output == {"codec": "json", "text": '{"auc": NaN, "rows": [1, 1180591620717411303424]}'}


def test_an_error_is_the_users_own(pool: ChildPool, code: Callable[[str], CodeRef]) -> None:
    with pytest.raises(StepFailed, match="ValueError: no rows on Sunday") as caught:
        pool.call(code("fails"), {"rows": 1})
    lines = caught.value.details["traceback"]
    assert lines == [
        "project.py, line 20, in fails: return inner(rows)",
        'project.py, line 22, in inner: raise ValueError("no rows on Sunday")',
    ]
    assert caught.value.details["log"] == "before the end\n"
    with pytest.raises(StepFailed, match=r"a builtins\.object cannot pass between steps") as caught:
        pool.call(code("lost"), {"rows": 1})
    assert "return a dict" in str(caught.value.next_step)
    with pytest.raises(StepFailed, match="SystemExit: 3"):
        pool.call(code("leaves"), {})
    with pytest.raises(StepFailed, match="unexpected keyword argument 'c'"):
        pool.call(code("add"), {"a": 1, "c": 2})


@pytest.mark.parametrize("beside", [True, False])
def test_a_file_that_did_not_travel_with_the_code_is_told(
    pool: ChildPool, code: Callable[[str], CodeRef], beside: bool
) -> None:
    with pytest.raises(StepFailed, match="FileNotFoundError") as caught:
        pool.call(code("config"), {"beside": beside})
    assert "files=['rates.json']" in str(caught.value.next_step)


def test_a_child_that_dies_is_replaced(pool: ChildPool, code: Callable[[str], CodeRef]) -> None:
    with pytest.raises(StepFailed, match="ended by SIGKILL") as caught:
        pool.call(code("dies"), {})
    assert "memory" in str(caught.value.next_step)
    with pytest.raises(StepFailed, match="ended by signal 35"):  # not every signal has a name
        pool.call(code("dies"), {"number": 35})
    assert pool.call(code("add"), {"a": 1}).output == 2


def test_a_step_that_takes_too_long_is_killed_with_all_it_started(
    pool: ChildPool, code: Callable[[str], CodeRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, now_s = tmp_path / "grandchild", time.monotonic
    # An hour is over as soon as the step has started a process of its own.
    monkeypatch.setattr(child, "time", SimpleNamespace(monotonic=lambda: now_s() + 3600 * file.exists()))
    with pytest.raises(StepFailed, match=r"took longer than 1800 s"):
        pool.call(code("sleeps"), {"seconds": 3600, "file": str(file)}, timeout_s=1800)
    monkeypatch.undo()
    wait_until(lambda: is_gone(int(file.read_text()), or_zombie=True))


def test_a_step_that_begins_an_answer_and_stops_takes_too_long_too(
    pool: ChildPool, code: Callable[[str], CodeRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, now_s = tmp_path / "begun", time.monotonic
    monkeypatch.setattr(child, "time", SimpleNamespace(monotonic=lambda: now_s() + 3600 * file.exists()))
    with pytest.raises(StepFailed, match=r"took longer than 1800 s"):
        pool.call(code("begins"), {"file": str(file)}, timeout_s=1800)
    monkeypatch.undo()
    file.unlink()
    with pytest.raises(StepFailed, match="was cancelled"):
        pool.call(code("begins"), {"file": str(file)}, timeout_s=1800, should_stop=file.exists)


def test_a_step_that_takes_too_much_memory_is_killed(pool: ChildPool, code: Callable[[str], CodeRef]) -> None:
    with pytest.raises(StepFailed, match=r"used 0\.\d GB of memory"):
        pool.call(code("eats"), {})


def test_user_code_sees_no_secret(
    pool: ChildPool, code: Callable[[str], CodeRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ("LOOPWRIGHT_SERVICE_TOKEN", "LOOPWRIGHT_TOKEN", "LOOPWRIGHT_DATABASE", "LOOPWRIGHT_PROJECT")
    for name in (*known, "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, "x")
    assert pool.call(code("secrets"), {}).output == ["LOOPWRIGHT_PROJECT"]


def test_a_transform_reads_and_writes_parquet(pool: ChildPool, code: Callable[[str], CodeRef], tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.parquet", tmp_path / "out.parquet"
    pl.DataFrame({"delay": [0, 20, 30]}).write_parquet(rows)
    pool.transform(code("late"), rows, out)
    assert pl.read_parquet(out)["delay"].to_list() == [20, 30]
    with pytest.raises(StepFailed, match="unable to find column") as wrong:
        pool.transform(code("wrong"), rows, out)
    assert "Resolved plan" not in wrong.value.message  # names files of the platform, and fills a screen
    assert wrong.value.next_step is not None
    assert wrong.value.next_step.endswith("in wrong: what it returned")
    with pytest.raises(StepFailed, match="nothing returned a NoneType"):
        pool.transform(code("nothing"), rows, out)


def test_two_children_of_user_code_live_at_most(
    pool: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path
) -> None:
    def elsewhere(name: str) -> CodeRef:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text("")
        return CodeRef(blob_store.put(packing.pack_project(tmp_path / name)).digest, "os", "getpid", "0" * 64)

    first, other = pool.call(code("pid"), {}).output, elsewhere("other")
    second = pool.call(other, {}).output
    assert pool.call(code("pid"), {}).output == first
    pool.call(elsewhere("third"), {})  # ends the one that idled longest
    assert pool.call(code("pid"), {}).output == first
    assert pool.call(other, {}).output != second


def test_the_platforms_own_child_and_those_of_user_code_leave_each_other_alone(
    pool: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore
) -> None:
    first, own = pool.call(code("pid"), {}).output, pool.call("os:getpid", {}).output
    empty = blob_store.put(packing.pack_project(Path("/nonexistent"), ())).digest
    pool.call(CodeRef(empty, "os", "getpid", "0" * 64), {})
    assert pool.call("os:getpid", {}).output == own
    assert pool.call(code("pid"), {}).output == first


def test_a_call_waits_for_the_child_that_is_being_prepared(pool: ChildPool, tmp_path: Path) -> None:
    pool.prepare("os:no_such_function", {})
    assert pool.call("os:getpid", {}).output
    pool.prepare("os:mkdir", {"path": str(tmp_path / "ready")})
    assert pool.call("os.path:isdir", {"s": str(tmp_path / "ready")}).output is True


def test_an_idle_child_is_ended(tmp_path: Path, blob_store: BlobStore) -> None:
    pool = ChildPool(tmp_path / "worker", blob_store, idle_s=0.3)
    pid = pool.call("os:getpid", {}).output
    assert wait_until(lambda: is_gone(pid))


@pytest.fixture
def walled(tmp_path: Path, blob_store: BlobStore) -> Iterator[ChildPool]:
    """A pool whose children are shut in as a worker's are."""
    hidden = [tmp_path / "worker", Path(blob_store.url), tmp_path / "secret"]
    opened = ChildPool(tmp_path / "worker", blob_store, enclosure=Enclosure("on", hidden, [tmp_path / "shared"]))
    yield opened
    opened.close()


needs_walls = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")


@needs_walls
def test_user_code_is_kept_from_the_platforms_files(
    walled: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("lws_secret")
    (tmp_path / "shared").mkdir()
    blob = blob_store.put(b"another project's rows").digest
    foreign = tmp_path / "worker" / "children" / "99" / "code"
    foreign.mkdir(parents=True)
    (foreign / "theirs.py").write_text("")
    for path in (
        tmp_path / "secret",
        blob_store.path(blob),
        foreign / "theirs.py",
        Path("/proc", str(os.getpid()), "environ"),
    ):
        with pytest.raises(StepFailed, match="PermissionError"):
            walled.call(code("reads"), {"path": str(path)})
        with pytest.raises(StepFailed, match="PermissionError"):
            walled.call(code("writes"), {"path": str(path)})
    with pytest.raises(StepFailed, match="PermissionError"):
        walled.call(code("signals"), {"pid": os.getpid()})
    _, terminal = os.openpty()
    with pytest.raises(StepFailed, match="PermissionError"):
        walled.call(code("writes"), {"path": os.ttyname(terminal)})
    walled.call(code("writes"), {"path": str(tmp_path / "shared" / "made")})
    assert (tmp_path / "shared" / "made").read_text() == "x"


@needs_walls
def test_walls_leave_room_to_work(
    walled: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path
) -> None:
    pl.DataFrame({"x": [1, 2]}).write_parquet(tmp_path / "in.parquet")
    given = {"codec": "frame", "blob": blob_store.put_file(tmp_path / "in.parquet").digest}
    output = walled.call(code("frame"), {"rows": given, "column": "x"}).output
    assert pl.read_parquet(blob_store.path(output["blob"]))["x"].to_list() == [2, 4]
    assert walled.call(code("temporary"), {}).output == "kept"
    assert walled.call(code("shared"), {}).output
    assert walled.call(code("forks"), {}).output == [1, 4, 9]
    pl.DataFrame({"delay": [0, 20]}).write_parquet(tmp_path / "rows.parquet")
    walled.transform(code("late"), tmp_path / "rows.parquet", tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet")["delay"].to_list() == [20]
    folder = tmp_path / "worker" / "commands" / "one"
    folder.mkdir(parents=True)
    made = walled.call("os:mkdir", {"path": str(folder / "made")}, folder=folder)
    assert made.output is None
    assert (folder / "made").is_dir()
    with pytest.raises(StepFailed, match="PermissionError"):
        walled.call("os:mkdir", {"path": str(folder / "again")})


@needs_walls
def test_strict_walls_leave_the_interpreter_and_no_network(
    code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "plain").write_text("plain")
    pool = ChildPool(tmp_path / "worker", blob_store, enclosure=Enclosure("strict", [tmp_path / "worker"]))
    try:
        assert pool.call(code("add"), {"a": 1}).output == 2
        with pytest.raises(StepFailed, match="PermissionError"):
            pool.call(code("reads"), {"path": str(tmp_path / "plain")})
        with pytest.raises(StepFailed, match="PermissionError"):
            pool.call(code("connects"), {})
    finally:
        pool.close()


def test_strict_walls_that_cannot_be_raised_stop_the_step(
    code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ChildPool(tmp_path / "worker", blob_store, enclosure=Enclosure("strict"))
    monkeypatch.setattr("loopwright.pipelines.executors.child.read_frame", lambda pipe: {"ready": 1, "holds": []})
    with pytest.raises(StepFailed, match="no walls can be raised"):
        pool.call(code("pid"), {})


def test_a_step_returns_only_what_it_was_given_or_made(
    pool: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path
) -> None:
    """Its output is user code's word, and what it names becomes the project's to read."""
    foreign = blob_store.put(b"another project's rows").digest
    with pytest.raises(StepFailed, match="neither was given nor made"):
        pool.call(code("claims"), {"digest": foreign})
    pool.close()
    (tmp_path / "secret").write_text("lws_secret")
    with pytest.raises(Corrupt, match="not where the step said"):
        pool.call(code("hands_over"), {"path": str(tmp_path / "secret")})
    assert not blob_store.has(digest_bytes(b"lws_secret"))


@pytest.mark.parametrize("document", [{"blob": "{}"}, [{"a": {"blobs": {"x": "{}"}}}], {"codec": "x", "blob": "{}"}])
def test_a_child_that_speaks_for_itself_names_no_foreign_blob(
    pool: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore, document: Any
) -> None:
    """Whoever takes a frame reads the blob, also where no codec stands beside it."""
    foreign = blob_store.put(b"another project's rows").digest
    said = json.dumps({"output": document, "files": {}}).replace("{}", foreign, 1)
    with pytest.raises(StepFailed, match="neither was given nor made"):
        pool.call(code("says"), {"text": said})


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"files": []}', '{"files": {"a": 1}}', '{"error": 1}', "\xff", "[" * 100_000]
)
def test_what_is_no_answer_ends_the_step_and_its_child(
    pool: ChildPool, code: Callable[[str], CodeRef], text: str
) -> None:
    with pytest.raises(StepFailed, match="what is no answer"):
        pool.call(code("says"), {"text": text})
    assert pool.call(code("add"), {"a": 1}).output == 2


def test_an_answer_that_would_fill_the_worker_is_not_read(pool: ChildPool, code: Callable[[str], CodeRef]) -> None:
    with pytest.raises(StepFailed, match=r"returned \d+ MB of JSON"):
        pool.call(code("promises"), {"length": child.MOST_ANSWER_BYTES + 1})
    assert pool.call(code("add"), {"a": 1}).output == 2


@needs_walls
def test_what_a_step_is_handed_is_no_file_of_the_platform(
    walled: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path
) -> None:
    """Walls do not keep mode and times of a file, and a sweep goes by them: every project has the blob's bytes."""
    pl.DataFrame({"x": [1, 2]}).write_parquet(tmp_path / "in.parquet")
    given = {"codec": "frame", "blob": blob_store.put_file(tmp_path / "in.parquet").digest}
    before = blob_store.path(given["blob"]).stat()
    assert walled.call(code("touches"), {"": given}).output == 1
    after = blob_store.path(given["blob"]).stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_projects_with_the_same_code_share_no_child(pool: ChildPool, code: Callable[[str], CodeRef]) -> None:
    """What a module keeps is of the rows it has seen."""
    assert pool.call(code("remembers"), {"what": "a"}, owner="flights").output == ["a"]
    assert pool.call(code("remembers"), {"what": "b"}, owner="other").output == ["b"]
    assert pool.call(code("remembers"), {"what": "c"}, owner="flights").output == ["a", "c"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_however_deep_a_step_digs_it_keeps_no_worker_from_work(
    tmp_path: Path,
    blob_store: BlobStore,
    code: Callable[[str], CodeRef],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_killed: bool,
) -> None:
    """Who cleans up after one project does it on the way of another's call, or as the worker starts."""
    pool = ChildPool(tmp_path / "deep", blob_store)
    assert pool.call(code("digs"), {"depth": 2000}, owner="flights").output == 2000
    with monkeypatch.context() as patch:
        if is_killed:
            patch.setattr(child, "remove", lambda _: None)
        pool.close()
    if is_killed:
        ChildPool(tmp_path / "deep", blob_store).close()
    assert not list(tmp_path.glob("deep/children/*"))


LETS_GO = """
import os, sys, time
from pathlib import Path
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import StepFailed
from loopwright.pipelines import ChildPool, packing
from loopwright.store.blobs import open_blob_store
from loopwright.wire import orphans

folder = Path(sys.argv[1])
blobs = open_blob_store(str(folder / "blobs"))
digest = blobs.put(packing.pack_project(folder / "project")).digest
assert orphans.adopt()
pool = ChildPool(folder / "worker", blobs)
try:
    left = pool.call(CodeRef(digest, "project", "lets_go", "0" * 64), {"dies": sys.argv[2] == "dies"}).output
except StepFailed:
    left = None
names = [int(name) for name in os.listdir(folder / "left")]
assert len(names) == 3, names
print([pid for pid in names if os.path.exists(f"/proc/{pid}")])
assert pool.call(CodeRef(digest, "project", "warm", "0" * 64), {}).output == ("own child runs" if left else "new")
pool.close()
"""
LETS_GO_CODE = """
import os, subprocess, time
OWN = []
def lets_go(dies):
    OWN.append(subprocess.Popen(["sleep", "3600"]))
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        for is_last in (False, False, True):
            if os.fork():
                time.sleep(3600) if is_last else os._exit(0)
            os.setsid()
            open(f"{FOLDER}/left/{os.getpid()}", "w")
            if not is_last and os.fork():
                time.sleep(3600)
        os.write(told, b"x")
        time.sleep(3600)
    os.read(ready, 1)
    os._exit(3) if dies else None
    return len(OWN)
def warm():
    return "own child runs" if OWN and OWN[0].poll() is None else "new"
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no Linux")
@pytest.mark.parametrize("ending", ["returns", "dies"])
def test_what_a_step_let_go_of_ends_with_it(tmp_path: Path, ending: str) -> None:
    """In a session of its own it is in no group that is killed; it would run for ever beside other projects' steps."""
    (tmp_path / "project").mkdir()
    (tmp_path / "left").mkdir()
    (tmp_path / "project" / "project.py").write_text(f"FOLDER = {str(tmp_path)!r}\n{LETS_GO_CODE}")
    command = [sys.executable, "-c", LETS_GO, str(tmp_path), ending]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_code_is_what_its_digest_names(
    pool: ChildPool, code: Callable[[str], CodeRef], blob_store: BlobStore, tmp_path: Path
) -> None:
    """Neither a folder that lies there nor what a step wrote beside itself is imported."""
    (tmp_path / "worker" / "code" / "elsewhere").mkdir(parents=True)
    for digest in ("elsewhere", "../../worker/code/elsewhere", str(tmp_path / "project")):
        with pytest.raises(InvalidInput, match="not a digest"):
            pool.call(CodeRef(digest, "project", "pid", "0" * 64), {})
    assert pool.call(code("rewrites"), {}).output is None
    pool.close()
    assert pool.call(code("pid"), {}).output > 0
