"""The gateway's side of the nursery: starts it when a child is first needed, has children forked and killed."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from loopwright.config import user_code_environment
from loopwright.gateway.children.messages import Frames
from loopwright.gateway.children.nursery_main import News, Order, framed
from loopwright.gateway.marks import Page
from loopwright.kernel.errors import Unavailable

log = logging.getLogger("loopwright.gateway")
IDLE_S = 60.0
"""A nursery without children is ended after this, and its memory goes back to the machine."""
_BORN_S = 60.0
_STDERR = 2
_MOST_SAID = 1 << 16
_PROGRAM = "from loopwright.gateway.children.nursery_main import main; main()"
_read_news = msgspec.msgpack.Decoder(News)
OnEnd = Callable[[int | None], None]
"""Told how a child ended, as ``os.waitpid`` gives it; None where that is not known."""


class Newborn(NamedTuple):
    """A child that was forked: its process id, the gateway's end of its socket, the page it marks."""

    pid: int
    line: socket.socket
    page: Page


class Nursery:
    """Has children forked. Everything but ``prepare`` is called from the event loop.

    Args:
        scratch: Folder that children work in.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._frames = Frames()
        self._births: deque[asyncio.Future[int]] = deque()
        self._on_end: dict[int, OnEnd] = {}
        self._libraries: dict[str, None] = {}
        self._starting = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    def prepare(self, library: str) -> None:
        """Have a library imported before the next child is forked, so that children share it."""
        self._libraries.setdefault(library)

    async def fork(self, on_end: OnEnd) -> Newborn:
        """Return a new child; ``on_end`` is called once it has ended.

        Raises:
            Unavailable: No child can be had: processes or memory have run out, most likely.
        """
        await self._start()
        ours, theirs = socket.socketpair()
        page = Page.new()
        born: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._births.append(born)
        try:
            self._send(Order("fork"), theirs.fileno(), page.handle)
            pid = await asyncio.wait_for(born, _BORN_S)
        except (OSError, TimeoutError) as error:
            ours.close()
            page.close()
            self.close()
            raise Unavailable(
                "no process could be started", value=str(error), next_step="see the gateway's log; free memory"
            ) from None
        finally:
            theirs.close()
        self._on_end[pid] = on_end
        return Newborn(pid, ours, page)

    def kill(self, pid: int) -> None:
        """End a child and all it started, whatever it is doing."""
        if pid in self._on_end:
            with suppress(OSError):
                self._send(Order("kill", pid))

    def close(self) -> None:
        """End the nursery and every child."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control.fileno())
            control.close()
        process, self._process = self._process, None
        if process is not None:  # it ends by itself now
            threading.Thread(target=process.wait, name="nursery", daemon=True).start()
        self._forget_all()

    async def _start(self) -> None:
        async with self._starting:
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            if self._control is None:
                await self._start_process()
            wanted, self._libraries = self._libraries, {}
            for library in wanted:
                self._send(Order("import", name=library))

    async def _start_process(self) -> None:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                cwd=self._scratch,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

        loop = asyncio.get_running_loop()
        try:
            self._process = await loop.run_in_executor(None, start)
        except OSError as error:
            ours.close()
            raise Unavailable("no process could be started", value=str(error)) from None
        finally:
            theirs.close()
        threading.Thread(target=_pass_on, args=(self._process.stdout,), name="words", daemon=True).start()
        ours.setblocking(False)
        self._control, self._frames = ours, Frames()
        loop.add_reader(ours.fileno(), self._listen)

    def _send(self, order: Order, *handles: int) -> None:
        if self._control is None:
            raise OSError("the nursery has ended")
        socket.send_fds(self._control, [framed(order)], handles)

    def _listen(self) -> None:
        assert self._control is not None
        try:
            piece = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            log.error("the process that starts others has ended; its children end with it")
            self.close()
            return
        for body in self._frames.feed(piece):
            self._hear(_read_news.decode(body))

    def _hear(self, news: News) -> None:
        if news.what == "born":
            born = self._births.popleft()
            if not born.done():
                born.set_result(news.pid)
            return
        on_end = self._on_end.pop(news.pid, None)
        if not self._on_end:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self.close)
        if on_end is not None:
            on_end(news.status)

    def _forget_all(self) -> None:
        births, self._births = self._births, deque()
        for born in births:
            if not born.done():
                born.set_exception(OSError("the nursery has ended"))
        ends, self._on_end = self._on_end, {}
        for on_end in ends.values():
            on_end(None)


def _pass_on(words: IO[bytes]) -> None:
    """Write what children say where this process does: with its file in hand they could cut off what stands there."""
    with words, suppress(OSError):
        while said := os.read(words.fileno(), _MOST_SAID):
            while said:
                said = said[os.write(_STDERR, said) :]


def _environment() -> dict[str, str]:
    """Return the environment of children; they work in their own folder, where relative paths would lead astray."""
    environment = user_code_environment()
    if places := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(place).absolute()) for place in places.split(os.pathsep) if place
        )
    return {**environment, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
