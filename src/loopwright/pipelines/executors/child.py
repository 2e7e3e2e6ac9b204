"""A warm child process with the code of one digest: asked one thing after the other, killed on time-out or memory."""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loopwright.config import child_environment, user_code_environment
from loopwright.kernel.errors import StepFailed
from loopwright.kernel.plugins import BUILT_IN
from loopwright.kernel.removing import remove
from loopwright.pipelines.executors.enclosure import Enclosure
from loopwright.pipelines.executors.frames import Incoming, TooLong, read_frame, write_frame
from loopwright.wire import orphans
from loopwright.wire.endings import how_ended

log = logging.getLogger("loopwright.pipelines")

START_S = 60.0
LOG_BYTES = 64 * 1024
MOST_ANSWER_BYTES = 32 * 1024 * 1024
"""Of JSON that a child answers: what user code may say at once, for read it takes this worker many times that."""
Roots = tuple[tuple[Path, tuple[int, int] | None], ...]
"""Folders, with device and number of each on the disk: walls stand around what a folder was, not around its name."""
_NEEDED = {"files": "the kernel has no Landlock", "calls": "no system calls are filtered here"}
"""What walls are made of, and what it means where that does not hold."""
ALIVE: set[int] = set()
"""Numbers of the children of this process; changed while ``orphans.LOCK`` is held."""
_GLANCE_S = 0.25
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Ended(StepFailed):
    """A child is gone in the middle of a call.

    Args:
        who: The step, or the process of the step.
        how: What became of it, such as ``ended by SIGKILL``.
        may_be_chance: It was killed by nobody of ours: the system may have needed memory for something else.
    """

    def __init__(self, who: str, how: str, *, may_be_chance: bool = False, **parts: Any) -> None:
        super().__init__(f"{who} {how}", **parts)
        self.how, self.may_be_chance = how, may_be_chance


class Asked(NamedTuple):
    """A database that a child asks: ``file`` is where it lies, None where it is reached otherwise."""

    file: Path | None


class Answer(msgspec.Struct, frozen=True):
    """What a child answers a call: the output and the files that it names, by digest; or an error document."""

    output: Any = None
    files: dict[str, str] = {}
    error: dict[str, Any] | None = None


class Child:
    """One child process with the code of one digest.

    Args:
        folder: Its own folder: log, inputs and scratch space.
        code: Unpacked code; empty for functions of the platform.
        enclosure: How it is shut in; None if it is not.
        more: A further folder that it may write to.
        owner: The project whose code it is; empty for functions of the platform.
        roots: The folders below which it reads files of sources, and what each of them was as it began; None if it
            reads none.
        asks: The database that it asks; None if it asks none.
    """

    def __init__(
        self,
        folder: Path,
        digest: str,
        code: str,
        enclosure: Enclosure | None = None,
        more: Path | None = None,
        owner: str = "",
        roots: Roots | None = None,
        asks: "Asked | None" = None,
    ) -> None:
        self.digest, self.owner, self.roots, self.asks = digest, owner, roots, asks
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
        with self._log.open("ab") as log, orphans.LOCK:
            self._process = subprocess.Popen(
                [*command, str(child_reads), str(child_writes)],
                cwd=self.scratch,
                env=_environment(
                    temporary.absolute(), user_code_environment() if asks is None else child_environment()
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(child_reads, child_writes),
                start_new_session=True,
            )
            ALIVE.add(self._process.pid)
        os.close(child_reads)
        os.close(child_writes)
        writes = [self.scratch, temporary, *([] if more is None else [more.absolute()])]
        reads = [*([Path(code)] if code else []), self.inputs]
        walls = None
        if enclosure is not None and roots is not None:
            walls = enclosure.walls_of_reader([root for root, _ in roots], reads, writes)
        elif enclosure is not None and asks is not None:
            walls = enclosure.walls_of_asker(asks.file, writes)
        elif enclosure is not None:
            walls = enclosure.walls(reads, writes)
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
        missing = [said for what, said in _NEEDED.items() if what not in holds]
        if "error" not in answer and not (missing and enclosure.mode == "strict"):
            for said in missing:
                log.warning("walls around user code are not whole: %s", said)
            return
        self.kill()
        raise StepFailed(
            f"no walls can be raised around user code: {answer.get('error') or ', '.join(missing)}",
            rule=f"LOOPWRIGHT_WALLS={enclosure.mode}",
            next_step="loopwright doctor says what this machine can; on or off for code that you trust",
        )

    def ask(
        self, call: dict[str, Any], *, timeout_s: float, most_bytes: int, should_stop: Callable[[], bool] | None
    ) -> Answer:
        """Send one call and wait for its answer.

        Raises:
            StepFailed: It took too long or too much memory, was cancelled, or the child died or wrote what is no
                answer; it is dead then.
        """
        os.truncate(self._log, 0)
        deadline = time.monotonic() + timeout_s
        incoming = Incoming(MOST_ANSWER_BYTES)
        try:
            write_frame(self._to_child, call)
            while not incoming.is_whole:
                self._listen(incoming, deadline)
                if not incoming.is_whole:
                    self._glance(deadline, timeout_s, most_bytes, should_stop)
            return msgspec.convert(incoming.document(), Answer)
        except (EOFError, BrokenPipeError):
            raise self._died() from None
        except TooLong as error:
            self.kill()
            rule = f"at most {MOST_ANSWER_BYTES >> 20} MB"
            hint = "return a frame: it travels as a file"
            raise StepFailed(f"the step returned {error}", field="return", rule=rule, next_step=hint) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.kill()
            raise StepFailed("the process of the step answered what is no answer", next_step="see its log") from None

    def _listen(self, incoming: Incoming, deadline: float) -> None:
        """Take what comes within a moment; raises ``EOFError`` where the child has ended and nothing comes."""
        is_alive = self.is_alive
        with selectors.DefaultSelector() as selector:
            selector.register(self._from_child, selectors.EVENT_READ)
            if selector.select(min(_GLANCE_S, max(0.0, deadline - time.monotonic()))):
                incoming.read(self._from_child)
            elif not is_alive:  # what it left behind may hold the pipe open
                raise EOFError

    def _glance(
        self, deadline: float, timeout_s: float, most_bytes: int, should_stop: Callable[[], bool] | None
    ) -> None:
        if time.monotonic() >= deadline:
            self.kill()
            hint = 'give it longer: @p.step(timeout="2h"), or let it do less'
            raise Ended("the step", f"took longer than {timeout_s:g} s and was stopped", next_step=hint)
        if (used := self.memory_bytes()) > most_bytes:
            self.kill()
            how, rule = f"used {used / 1e9:.1f} GB of memory and was stopped", f"at most {most_bytes / 1e9:.1f} GB"
            raise Ended("the step", how, rule=rule, next_step="use fewer rows or columns")
        if should_stop is not None and should_stop():
            self.kill()
            raise Ended("the step", "was stopped, for its execution was cancelled")

    def _died(self) -> StepFailed:
        self.kill()
        code = self._process.returncode
        hint = "memory ran out, most likely: use fewer rows or columns" if code == -signal.SIGKILL else "see its log"
        is_chance = code == -signal.SIGKILL
        return Ended("the process of the step", how_ended(code), may_be_chance=is_chance, next_step=hint)

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
        with orphans.LOCK:
            self._process.wait()
            ALIVE.discard(self._process.pid)
        self._last_words = self.log_tail()
        for handle in (self._to_child, self._from_child):
            with contextlib.suppress(OSError):
                os.close(handle)
        self._to_child = self._from_child = -1
        remove(self._folder)


def marked(folders: Sequence[Path]) -> Roots:
    """Return folders with what each of them is by now."""
    return tuple((folder.absolute(), _mark(folder)) for folder in folders)


def _mark(folder: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = folder.stat()
        return status.st_dev, status.st_ino
    return None


def _environment(temporary: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return a child's environment.

    It runs in a folder of its own, where relative paths would lead astray.

    What joblib shares with its processes lies in that too, pickles among it: it takes ``/dev/shm`` by itself, which
    children of all projects write.

    Threads of OpenMP that wait spin for some ten microseconds, unless the user says otherwise: beside other work on the
    same cores they are slower than one thread if they spin as long as they do by default, and in small fits if they do
    not spin at all.
    """
    own = {"TMPDIR": str(temporary), "JOBLIB_TEMP_FOLDER": str(temporary)}
    environment = {"GOMP_SPINCOUNT": "20000", **given, **own}
    if places := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(one).absolute()) for one in places.split(os.pathsep) if one
        )
    return {**environment, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}
