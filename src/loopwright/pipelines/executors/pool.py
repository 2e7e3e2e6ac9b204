"""Children by code digest: spawned on demand, so many at work in each lane, reused, ended when idle."""

import contextlib
import itertools
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import Corrupt, LoopwrightError, StepFailed, error_from_dict
from loopwright.kernel.lanes import Lane
from loopwright.kernel.removing import remove
from loopwright.pipelines import packing
from loopwright.pipelines.executors.base import CallResult, Executor
from loopwright.pipelines.executors.child import ALIVE, Asked, Child, Ended, Roots, marked
from loopwright.pipelines.executors.child_main import OUT
from loopwright.pipelines.executors.enclosure import Enclosure, hand_in, open_inside
from loopwright.store.blobs import BlobStore
from loopwright.store.blobs.base import DIGEST, check_digest
from loopwright.store.work import READ_S
from loopwright.wire import orphans
from loopwright.wire.endings import ReaderEnded
from loopwright.wire.memory import memory_bytes

log = logging.getLogger("loopwright.pipelines")

MOST_AT_WORK = 2
"""Children with user code at work for one lane; as many may run the platform's own functions, so that neither waits for
the other."""
MOST_IDLE = 2
"""Idle children of each sort that are kept warm."""
IDLE_S = 60.0
RETIRE_BYTES = 700 * 1024 * 1024
"""A child that holds more than this after a call is ended, so that memory goes back to the machine."""


Sort = Literal["code", "own", "files", "databases"]
"""Children with user code, those with the platform's own, and those that read files or ask databases: none waits for
another sort."""


class _Sought(NamedTuple):
    """What a child has to be: of which code and whose; below which folders it reads files, and what it asks, if so."""

    digest: str
    owner: str
    roots: Roots | None
    asks: Asked | None

    @classmethod
    def of(cls, child: Child) -> "_Sought":
        return cls(child.digest, child.owner, child.roots, child.asks)

    @property
    def sort(self) -> Sort:
        if self.asks is not None:
            return "databases"
        return "code" if self.digest else "own" if self.roots is None else "files"


class ChildPool(Executor):
    """Children by code digest: spawned on demand, reused for sequential calls, ended when idle.

    Args:
        folder: Where code is unpacked and children have their folders.
        blobs: Where code and values come from and outputs go to.
        most_bytes: Memory a child may use; three quarters of what there is where None.
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
        self._most_bytes = most_bytes or int(memory_bytes() * 0.75)
        self._idle_s = idle_s
        self._slots = {} if slots is None else dict(slots)
        self._idle: list[Child] = []
        self._at_work: Counter[tuple[Sort, Lane]] = Counter()
        self._under_way: dict[int, float] = {}  # when each call began
        self._preparing: dict[str, threading.Thread] = {}
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._reaper: threading.Timer | None = None
        for left_over in ("children", "code"):
            remove(folder / left_over)

    def call(
        self,
        target: CodeRef | str,
        inputs: dict[str, Any],
        *,
        timeout_s: float = 3600.0,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
        folder: Path | None = None,
        owner: str = "",
    ) -> CallResult:
        """Call a function in a child, as ``Executor`` says; with a ``folder`` in one of its own, which ends with it."""
        call = {"operation": "call", "inputs": inputs, "paths": self._paths(inputs), **_named(target)}
        return self._run(_digest(target), call, lane, timeout_s, should_stop, folder=folder, owner=owner)

    def most_at_work(self, lane: Lane) -> int:
        """Return how many children with user code may be at work at once for the jobs of a lane.

        One at the least: whoever takes no trainings may still do a backtest, which trains.
        """
        return max(self._slots.get(lane, MOST_AT_WORK), 1)

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
        owner: str = "",
    ) -> CallResult:
        """Run a function over a Parquet file in a child, as ``Executor`` says."""
        call = {"operation": "transform", "paths": {"rows": str(rows.absolute())}, **_named(code)}
        return self._run(code.digest, call, lane, timeout_s, should_stop, out=out, owner=owner)

    def read(
        self,
        function: str,
        inputs: dict[str, Any],
        files: Mapping[str, Path],
        out: Path,
        *,
        roots: Sequence[Path],
        what: str,
        timeout_s: float = READ_S,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
    ) -> Any:
        """Have files read by a function of the platform in a child that does nothing else, as ``Executor`` says."""
        paths = {name: str(path.absolute()) for name, path in files.items()}
        call: dict[str, Any] = {"operation": "read", "inputs": inputs, "paths": paths, **_named(function)}
        call["most_file_bytes"] = self._most_bytes  # a file of it takes no more than it may of memory
        for is_last in (False, True):
            try:
                return self._run("", call, lane, timeout_s, should_stop, out=out, roots=marked(roots)).output
            except Ended as ended:
                if is_last or not ended.may_be_chance:
                    raise _unread(what, ended) from None
        raise AssertionError

    def ask(
        self,
        function: str,
        inputs: dict[str, Any],
        files: Mapping[str, Path],
        folder: Path,
        *,
        file: Path | None,
        what: str,
        timeout_s: float = READ_S,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
    ) -> Any:
        """Have a database asked by a function of the platform in a child that ends with it, as ``Executor`` says."""
        paths = {name: str(path.absolute()) for name, path in files.items()}
        call: dict[str, Any] = {"operation": "read", "inputs": inputs, "paths": paths, **_named(function)}
        call["most_file_bytes"] = self._most_bytes
        try:
            return self._run("", call, lane, timeout_s, should_stop, folder=folder, asks=Asked(file)).output
        except Ended as ended:
            raise _unanswered(what, ended) from None

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
        owner: str = "",
        roots: Roots | None = None,
        asks: Asked | None = None,
    ) -> CallResult:
        preparing = self._preparing.get(digest, threading.current_thread())
        if preparing is not threading.current_thread():
            preparing.join()
        with self._borrowed(_Sought(digest, owner if digest else "", roots, asks), lane, folder) as child:
            scratch = child.scratch / str(next(self._numbers))
            scratch.mkdir()
            handle = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
            limits: dict[str, Any] = {"timeout_s": timeout_s, "most_bytes": self._most_bytes}
            try:
                asked = {**self._handed_in(child, call), "scratch": str(scratch.absolute())}
                answer = child.ask(asked, should_stop=should_stop, **limits)
                if answer.error is not None:
                    raise _failure(answer.error) if (roots, asks) == (None, None) else error_from_dict(answer.error)
                self._keep(answer.files, scratch.absolute(), handle)
                _copy_out(handle, out)
                if digest and (strange := _claimed(answer.output) - {*answer.files, *call.get("paths", {})}):
                    raise _strange(strange)
                return CallResult(answer.output, child.log_tail())
            except StepFailed as error:
                error.details["log"] = child.log_tail().decode(errors="replace")
                raise
            finally:
                os.close(handle)
                for left_over in (scratch, *child.inputs.glob("*")):
                    remove(left_over)

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
    def _borrowed(self, sought: "_Sought", lane: Lane, folder: Path | None) -> Iterator[Child]:
        child = self._take(sought, lane, is_alone=folder is not None)
        number, began_s = next(self._numbers), orphans.now_s()
        with self._changed:
            self._under_way[number] = began_s
        try:
            child = child or self._spawn(sought, folder)
            yield child
        finally:
            with self._changed:
                self._at_work[sought.sort, lane] -= 1
                del self._under_way[number]
                # What a call let go of goes with it; what began since the oldest that goes on may be of that one.
                oldest_s = min(self._under_way.values(), default=orphans.now_s())
                if child is not None and folder is not None:
                    child.kill()
                elif child is not None:
                    self._give_back(child)
                self._changed.notify_all()
            if sought.digest or folder is not None:
                orphans.end_orphans(ALIVE, oldest_s)

    def _take(self, sought: "_Sought", lane: Lane, *, is_alone: bool) -> Child | None:
        """Return an idle child that is what is sought, or None with the right to start one."""
        sort = sought.sort
        with self._changed:
            self._changed.wait_for(lambda: self._at_work[sort, lane] < self.most_at_work(lane))
            self._at_work[sort, lane] += 1
            self._bury(lambda child: not child.is_alive)
            alike = (child for child in self._idle if _Sought.of(child) == sought)
            same = None if is_alone else next(alike, None)
            if same is not None:
                self._idle.remove(same)
            else:
                self._keep_newest(sort, MOST_IDLE - 1)
            return same

    def _give_back(self, child: Child) -> None:
        child.idle_since = time.monotonic()
        self._idle.append(child)
        self._bury(lambda one: not one.is_alive or one.memory_bytes() > RETIRE_BYTES)
        self._keep_newest(_Sought.of(child).sort, MOST_IDLE)
        self._plan_reaping()

    def _keep_newest(self, sort: Sort, count: int) -> None:
        """End the children of a sort that have idled longest."""
        alike = [child for child in self._idle if _Sought.of(child).sort == sort]
        alike.sort(key=lambda one: one.idle_since)
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

    def _spawn(self, sought: "_Sought", more: Path | None) -> Child:
        folder = self._folder / "children" / str(next(self._numbers))
        # A fresh copy for each child, from bytes that have just been checked: whatever user code wrote beside itself
        # before, or where another's code lies, is not what runs now.
        digest, owner, roots, asks = sought
        code = str(packing.unpack(self._blobs.get(check_digest(digest)), folder.absolute() / "code")) if digest else ""
        child = Child(folder.absolute(), digest, code, self._enclosure, more, owner, roots, asks)
        child.wait_ready()
        return child

    def _paths(self, document: Any) -> dict[str, str]:
        return {digest: str(self._blobs.path(digest).absolute()) for digest in blob_digests(document)}


def blob_digests(document: Any) -> set[str]:
    """Return the digests that value documents name, under ``blob`` or in ``blobs`` beside their ``codec``."""
    return {digest for one in _dicts(document) if "codec" in one for digest in _named_by(one)}


def _claimed(output: Any) -> set[str]:
    """Return the digests that an output names, as ``blob_digests`` does, also where no codec stands beside them.

    Encoders write one; a child that speaks for itself may leave it out, and whoever takes a frame reads the blob.
    """
    return blob_digests(output) | {name for one in _dicts(output) for name in _named_by(one) if DIGEST.match(name)}


def _dicts(document: Any) -> Iterator[dict[str, Any]]:
    """Yield a document and every one inside it."""
    if isinstance(document, dict):
        yield document
    for item in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _dicts(item)


def _named_by(document: dict[str, Any]) -> set[str]:
    named = document.get("blobs")
    found = [document.get("blob"), *(named.values() if isinstance(named, dict) else ())]
    return {digest for digest in found if isinstance(digest, str)}


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


def _unread(what: str, ended: Ended) -> ReaderEnded:
    """Return the error for files at which their reader ended."""
    return ReaderEnded(
        f"{what} could not be read: the reader {ended.how}",
        how=ended.how,
        said=ended.details.get("log", ""),
        field="source",
        value=what,
        rule=ended.rule or "files that take no more time and memory than there is",
        next_step="import it in parts; in a workbook, look for a cell far from all others, which makes a sheet huge",
    )


def _unanswered(what: str, ended: Ended) -> ReaderEnded:
    """Return the error for a database at whose answer the child that asked it ended."""
    return ReaderEnded(
        f"{what} was not read to its end: the process that asked it {ended.how}",
        how=ended.how,
        said=ended.details.get("log", ""),
        field="source.query",
        value=what,
        rule=ended.rule or "a query that takes no more time and memory than there is",
        next_step="ask for fewer rows or columns, or for what changed, by a watermark",
    )


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
