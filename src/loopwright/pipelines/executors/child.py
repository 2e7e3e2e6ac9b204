"""Warm child processes, one for each code digest: so many at work in each lane, killed on time-out or memory."""

import contextlib
import itertools
import logging
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from loopwright.config import user_code_environment
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import Corrupt, LoopwrightError, StepFailed, error_from_dict
from loopwright.kernel.plugins import BUILT_IN
from loopwright.pipelines import packing
from loopwright.pipelines.executors.child_main import OUT
from loopwright.pipelines.executors.enclosure import Enclosure, hand_in, open_inside
from loopwright.pipelines.executors.frames import read_frame, write_frame
from loopwright.store.blobs import BlobStore
from loopwright.store.blobs.base import check_digest
from loopwright.store.work import Lane

log = logging.getLogger("loopwright.pipelines")

MOST_AT_WORK = 2
"""Children with user code at work for one lane; as many may run the platform's own functions, so that neither waits for
the other."""
MOST_IDLE = 2
"""Idle children of each sort that are kept warm."""
IDLE_S = 60.0
START_S = 60.0
LOG_BYTES = 64 * 1024
RETIRE_BYTES = 700 * 1024 * 1024
"""A child that holds more than this after a call is ended, so that memory goes back to the machine."""
_GLANCE_S = 0.25
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class CallResult(msgspec.Struct, frozen=True):
    """Output document of a call, and the tail of what it printed."""

    output: Any
    log: bytes


class Child:
    """One child process with the code of one digest.

    Args:
        folder: Its own folder: log, inputs and scratch space.
        code: Unpacked code; empty for functions of the platform.
        enclosure: How it is shut in; None if it is not.
        more: A further folder that it may write to.
    """

    def __init__(
        self, folder: Path, digest: str, code: str, enclosure: Enclosure | None = None, more: Path | None = None
    ) -> None:
        self.digest = digest
        self.inputs, self.scratch, temporary = folder / "in", folder / "scratch", folder / "tmp"
        for own in (self.inputs, self.scratch, temporary):
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._enclosure = enclosure
        self.idle_since = time.monotonic()
        self._folder = folder
        self._log = folder / "log"
        self._last_words = b""
        child_reads, self._to_child = os.pipe()
        self._from_child, child_writes = os.pipe()
        command = [sys.executable, "-P", "-m", "loopwright.pipelines.executors.child_main"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(child_reads), str(child_writes)],
                cwd=self.scratch,
                env={**_environment(), "TMPDIR": str(temporary.absolute())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(child_reads, child_writes),
                start_new_session=True,
            )
        os.close(child_reads)
        os.close(child_writes)
        writes = [self.scratch, temporary, *([] if more is None else [more.absolute()])]
        reads = [*([Path(code)] if code else []), self.inputs]
        walls = None if enclosure is None else enclosure.walls(reads, writes)
        write_frame(self._to_child, {"code": code, "plugins": {"codecs": BUILT_IN.get("codecs", {})}, "walls": walls})

    def wait_ready(self) -> None:
        """Wait until the interpreter is up, so that no step's time-out counts that.

        Raises:
            StepFailed: It did not come up.
        """
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._from_child, selectors.EVENT_READ)
                if not selector.select(START_S):
                    self.kill()
                    raise StepFailed("no process for user code could be started", next_step="loopwright doctor")
            answer: dict[str, Any] = read_frame(self._from_child)
        except (EOFError, BrokenPipeError):
            raise self._died() from None
        if self._enclosure is not None:
            self._check_walls(self._enclosure, answer)

    def _check_walls(self, enclosure: Enclosure, answer: dict[str, Any]) -> None:
        holds = answer.get("holds", [])
        if "error" not in answer and ("files" in holds or enclosure.mode != "strict"):
            if "files" not in holds:
                log.warning("user code reads whatever this worker can: the kernel has no Landlock")
            return
        self.kill()
        raise StepFailed(
            f"no walls can be raised around user code: {answer.get('error', 'the kernel has no Landlock')}",
            rule=f"LOOPWRIGHT_WALLS={enclosure.mode}",
            next_step="loopwright doctor says what this machine can; on or off for code that you trust",
        )

    def ask(
        self, call: dict[str, Any], *, timeout_s: float, most_bytes: int, should_stop: Callable[[], bool] | None
    ) -> dict[str, Any]:
        """Send one call and wait for its answer.

        Raises:
            StepFailed: It took too long or too much memory, was cancelled, or the child died; it is dead then.
        """
        os.truncate(self._log, 0)
        deadline = time.monotonic() + timeout_s
        try:
            write_frame(self._to_child, call)
            with selectors.DefaultSelector() as selector:
                selector.register(self._from_child, selectors.EVENT_READ)
                while not selector.select(min(_GLANCE_S, max(0.0, deadline - time.monotonic()))):
                    self._glance(deadline, timeout_s, most_bytes, should_stop)
            answer: dict[str, Any] = read_frame(self._from_child)
            return answer
        except (EOFError, BrokenPipeError):
            raise self._died() from None

    def _glance(
        self, deadline: float, timeout_s: float, most_bytes: int, should_stop: Callable[[], bool] | None
    ) -> None:
        if time.monotonic() >= deadline:
            self.kill()
            hint = 'give it longer: @p.step(timeout="2h"), or let it do less'
            raise StepFailed(f"the step took longer than {timeout_s:g} s and was stopped", next_step=hint)
        if (used := self.memory_bytes()) > most_bytes:
            self.kill()
            message = f"the step used {used / 1e9:.1f} GB of memory and was stopped"
            raise StepFailed(message, rule=f"at most {most_bytes / 1e9:.1f} GB", next_step="use fewer rows or columns")
        if should_stop is not None and should_stop():
            self.kill()
            raise StepFailed("the step was stopped, for its execution was cancelled")

    def _died(self) -> StepFailed:
        self.kill()
        code = self._process.returncode
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        hint = "memory ran out, most likely: use fewer rows or columns" if code == -signal.SIGKILL else "see its log"
        return StepFailed(f"the process of the step ended {how}", next_step=hint)

    def log_tail(self) -> bytes:
        """Return the end of what the last call printed."""
        if self._to_child == -1:
            return self._last_words
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - LOG_BYTES))
            return log.read()

    def memory_bytes(self) -> int:
        """Return the resident memory of the process; 0 where that cannot be told."""
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process and all it started; calling it twice is harmless."""
        if self._to_child == -1:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._last_words = self.log_tail()
        for handle in (self._to_child, self._from_child):
            with contextlib.suppress(OSError):
                os.close(handle)
        self._to_child = self._from_child = -1
        shutil.rmtree(self._folder, ignore_errors=True)


class ChildPool:
    """Children by code digest: spawned on demand, reused for sequential calls, ended when idle.

    Args:
        folder: Where code is unpacked and children have their folders.
        blobs: Where code and values come from and outputs go to.
        most_bytes: Memory a child may use; three quarters of the machine's where None.
        enclosure: How children are shut in; None if they are not.
        idle_s: How long a child is kept that has nothing to do.
        slots: How many children are at work at once for the jobs of each lane.
    """

    def __init__(
        self,
        folder: Path,
        blobs: BlobStore,
        *,
        most_bytes: int | None = None,
        idle_s: float = IDLE_S,
        slots: Mapping[Lane, int] | None = None,
        enclosure: Enclosure | None = None,
    ) -> None:
        self._folder = folder
        self._blobs = blobs
        self._enclosure = enclosure
        self._most_bytes = most_bytes or int(os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES * 0.75)
        self._idle_s = idle_s
        self._slots = {} if slots is None else dict(slots)
        self._idle: list[Child] = []
        self._at_work: Counter[tuple[bool, Lane]] = Counter()  # by whether they have user code, and for whom
        self._preparing: dict[str, threading.Thread] = {}
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._reaper: threading.Timer | None = None
        for left_over in ("children", "code"):
            shutil.rmtree(folder / left_over, ignore_errors=True)

    def call(
        self,
        target: CodeRef | str,
        inputs: dict[str, Any],
        *,
        timeout_s: float = 3600.0,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
        folder: Path | None = None,
    ) -> CallResult:
        """Call a function with documents by parameter name; its output's blobs are in the store when this returns.

        An input of the empty name is passed as the first argument, whatever the function calls it. Calls of one lane
        never wait for children of another. With a ``folder`` the child is one of its own, which may write there too and
        ends with the call.

        Raises:
            StepFailed: It raised, took too long or too much memory; ``details`` hold the user's frames and log.
        """
        call = {"operation": "call", "inputs": inputs, "paths": self._paths(inputs), **_named(target)}
        return self._run(_digest(target), call, lane, timeout_s, should_stop, folder=folder)

    def prepare(self, target: CodeRef | str, inputs: dict[str, Any]) -> None:
        """Call a function in the background: calls to come wait for it, and find a child with its libraries loaded."""

        def quietly() -> None:
            try:
                self.call(target, inputs, lane="training")
            except (LoopwrightError, OSError) as error:
                log.info("a child could not be prepared: %s", error)  # the call that needs it says so louder

        thread = threading.Thread(target=quietly, name="prepare", daemon=True)
        self._preparing[_digest(target)] = thread
        thread.start()

    def transform(
        self,
        code: CodeRef,
        rows: Path,
        out: Path,
        *,
        timeout_s: float = 3600.0,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
    ) -> CallResult:
        """Run a function from LazyFrame to LazyFrame over a Parquet file.

        Raises:
            StepFailed: As ``call``.
        """
        call = {"operation": "transform", "paths": {"rows": str(rows.absolute())}, **_named(code)}
        return self._run(code.digest, call, lane, timeout_s, should_stop, out=out)

    def close(self) -> None:
        """End the idle children; running calls end with their process."""
        with self._changed:
            if self._reaper is not None:
                self._reaper.cancel()
            self._bury(lambda child: True)

    def _run(
        self,
        digest: str,
        call: dict[str, Any],
        lane: Lane,
        timeout_s: float,
        should_stop: Callable[[], bool] | None,
        *,
        folder: Path | None = None,
        out: Path | None = None,
    ) -> CallResult:
        preparing = self._preparing.get(digest, threading.current_thread())
        if preparing is not threading.current_thread():
            preparing.join()
        with self._borrowed(digest, lane, folder) as child:
            scratch = child.scratch / str(next(self._numbers))
            scratch.mkdir()
            handle = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
            limits: dict[str, Any] = {"timeout_s": timeout_s, "most_bytes": self._most_bytes}
            try:
                asked = {**self._handed_in(child, call), "scratch": str(scratch.absolute())}
                answer = child.ask(asked, should_stop=should_stop, **limits)
                if "error" in answer:
                    raise _failure(answer["error"])
                self._keep(answer["files"], scratch.absolute(), handle)
                _copy_out(handle, out)
                if digest and (strange := blob_digests(answer["output"]) - {*answer["files"], *call.get("paths", {})}):
                    raise _strange(strange)
                return CallResult(answer["output"], child.log_tail())
            except StepFailed as error:
                error.details["log"] = child.log_tail().decode(errors="replace")
                raise
            finally:
                os.close(handle)
                for left_over in (scratch, *child.inputs.glob("*")):
                    shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink(missing_ok=True)

    def _handed_in(self, child: Child, call: dict[str, Any]) -> dict[str, Any]:
        """Return a call whose files the child may open."""
        if self._enclosure is None:
            return call
        paths = {name: hand_in(Path(path), child.inputs.absolute() / name) for name, path in call["paths"].items()}
        return {**call, "paths": paths}

    def _keep(self, files: dict[str, str], scratch: Path, handle: int) -> None:
        """Store the files of an answer. It is user code's word: a path may lead to what that cannot read itself."""
        for expected, path in files.items():
            with open_inside(handle, os.path.relpath(path, scratch), "return") as opened:
                if self._blobs.put_file(opened).digest != expected:
                    raise Corrupt("an output file changed after it was handed over", field="return")

    @contextlib.contextmanager
    def _borrowed(self, digest: str, lane: Lane, folder: Path | None = None) -> Iterator[Child]:
        child = self._take(digest, lane, is_alone=folder is not None)
        try:
            child = child or self._spawn(digest, folder)
            yield child
        finally:
            with self._changed:
                self._at_work[bool(digest), lane] -= 1
                if child is not None and folder is not None:
                    child.kill()
                elif child is not None:
                    self._give_back(child)
                self._changed.notify_all()

    def _take(self, digest: str, lane: Lane, *, is_alone: bool) -> Child | None:
        """Return an idle child of the digest, or None with the right to start one."""
        sort = bool(digest)
        with self._changed:
            self._changed.wait_for(lambda: self._at_work[sort, lane] < self._slots.get(lane, MOST_AT_WORK))
            self._at_work[sort, lane] += 1
            self._bury(lambda child: not child.is_alive)
            same = next((child for child in self._idle if child.digest == digest and not is_alone), None)
            if same is not None:
                self._idle.remove(same)
            else:
                self._keep_newest(sort, MOST_IDLE - 1)
            return same

    def _give_back(self, child: Child) -> None:
        child.idle_since = time.monotonic()
        self._idle.append(child)
        self._bury(lambda one: not one.is_alive or one.memory_bytes() > RETIRE_BYTES)
        self._keep_newest(bool(child.digest), MOST_IDLE)
        self._plan_reaping()

    def _keep_newest(self, sort: bool, count: int) -> None:
        """End the children that have idled longest, of those with user code or of those without."""
        alike = sorted((child for child in self._idle if bool(child.digest) == sort), key=lambda one: one.idle_since)
        surplus = alike[: max(0, len(alike) - count)]
        self._bury(lambda child: child in surplus)

    def _bury(self, is_due: Callable[[Child], bool]) -> None:
        for child in [child for child in self._idle if is_due(child)]:
            child.kill()
            self._idle.remove(child)

    def _plan_reaping(self) -> None:
        if self._idle and (self._reaper is None or not self._reaper.is_alive()):
            self._reaper = threading.Timer(self._idle_s, self._reap)
            self._reaper.daemon = True
            self._reaper.start()

    def _reap(self) -> None:
        with self._changed:
            self._bury(lambda child: time.monotonic() - child.idle_since >= self._idle_s)
            self._reaper = None
            self._plan_reaping()

    def _spawn(self, digest: str, more: Path | None = None) -> Child:
        folder = self._folder / "children" / str(next(self._numbers))
        # A fresh copy for each child, from bytes that have just been checked: whatever user code wrote beside itself
        # before, or where another's code lies, is not what runs now.
        code = str(packing.unpack(self._blobs.get(check_digest(digest)), folder.absolute() / "code")) if digest else ""
        child = Child(folder.absolute(), digest, code, self._enclosure, more)
        child.wait_ready()
        return child

    def _paths(self, document: Any) -> dict[str, str]:
        return {digest: str(self._blobs.path(digest).absolute()) for digest in blob_digests(document)}


def blob_digests(document: Any) -> set[str]:
    """Return the digests that value documents name, under ``blob`` or in ``blobs`` beside their ``codec``."""
    if isinstance(document, list):
        return {digest for item in document for digest in blob_digests(item)}
    if not isinstance(document, dict):
        return set()
    found = {digest for value in document.values() for digest in blob_digests(value)}
    if "codec" in document:
        found |= {document["blob"]} if isinstance(document.get("blob"), str) else set()
        named = document.get("blobs")
        found |= set(named.values()) if isinstance(named, dict) else set()
    return found


def _strange(digests: set[str]) -> StepFailed:
    """Return the error for an output that names blobs the step neither got nor made: knowing a name opens nothing."""
    return StepFailed(
        "the step returned a blob that it neither was given nor made",
        field="return",
        value=sorted(digests)[0],
        next_step="return the value itself; the platform stores it",
    )


def _copy_out(handle: int, out: Path | None) -> None:
    """Copy the frame that a transform left in its folder to where it was asked for."""
    if out is not None:
        with open_inside(handle, OUT, "return") as opened:
            shutil.copyfile(opened, out)


def _environment() -> dict[str, str]:
    """Return a child's environment; it runs in a folder of its own, where relative paths would lead astray.

    Threads of OpenMP that wait spin for some ten microseconds, unless the user says otherwise: beside other work on the
    same cores they are slower than one thread if they spin as long as they do by default, and in small fits if they do
    not spin at all.
    """
    environment = {"GOMP_SPINCOUNT": "20000", **user_code_environment()}
    if places := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(one).absolute()) for one in places.split(os.pathsep) if one
        )
    return {**environment, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}


def _digest(target: CodeRef | str) -> str:
    return target.digest if isinstance(target, CodeRef) else ""


def _named(target: CodeRef | str) -> dict[str, str]:
    if isinstance(target, CodeRef):
        return {"module": target.module, "qualname": target.qualname}
    module, _, qualname = target.partition(":")
    return {"module": module, "qualname": qualname}


def _failure(error: dict[str, Any]) -> StepFailed:
    """Rebuild a child's error as one of user code."""
    lines = (error.get("details") or {}).get("traceback") or []
    if lines:
        error = {**error, "next_step": error.get("next_step") or f"see {lines[-1]}"}
    failed = error_from_dict(error)
    if isinstance(failed, StepFailed):
        return failed
    parts = {"field": failed.field, "value": failed.value, "rule": failed.rule, "next_step": failed.next_step}
    return StepFailed(failed.message, **parts, details={**failed.details, "kind": failed.code})
