"""The nursery process: loads libraries once, forks children from then on, and says how each of them ended.

It has one thread, so that forking it is safe, and was started without the platform's secrets. It never runs what a user
wrote. When its gateway is gone it ends every child, also one that hangs, and then itself.
"""

import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress

import msgspec

from loopwright.gateway.children import child_main
from loopwright.gateway.children.messages import HEAD, Frames
from loopwright.gateway.marks import Page
from loopwright.wire import orphans

_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of Linux: the signal a process gets when the one that forked it ends."""


class Order(msgspec.Struct, array_like=True):
    """What a gateway asks for: ``fork`` (two handles come with it), ``kill`` a child, or ``import`` a library."""

    what: str
    pid: int = 0
    name: str = ""


class News(msgspec.Struct, array_like=True):
    """What a nursery tells: a child was ``born``, or ``ended`` with a status as ``os.waitpid`` gives it."""

    what: str
    pid: int
    status: int = 0


_read_order = msgspec.msgpack.Decoder(Order)


def framed(document: Order | News) -> bytes:
    """Return an order or a piece of news behind its length."""
    body = msgspec.msgpack.encode(document)
    return HEAD.pack(len(body)) + body


class NurseryProcess:
    """Serves one gateway until it hangs up.

    Args:
        control: The socket to the gateway.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._own: list[socket.socket | selectors.BaseSelector] = [control]
        """What no child may hold: it could wake this process without end, or keep it asleep."""
        self._frames = Frames()
        self._alive: set[int] = set()
        self._handles: list[int] = []

    def run(self) -> None:
        """Fork, kill and tell, until the gateway is gone; a child that ends after that is not told of."""
        orphans.adopt()
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        self._own += [woken, wake]
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            self._serve(woken)
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            woken.close()
            wake.close()
            self._end()

    def _serve(self, woken: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            self._own.append(selector)
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            is_connected = True
            while is_connected:
                ready = {key.fileobj for key, _ in selector.select()}
                if woken in ready:
                    woken.recv(4096)
                    self._reap()
                if self._control in ready:
                    is_connected = self._listen()

    def _listen(self) -> bool:
        """Take orders; return False once the gateway has hung up."""
        piece, handles, _, _ = socket.recv_fds(self._control, 65536, 2)
        if not piece:
            return False
        self._handles += handles
        for body in self._frames.feed(piece):
            order = _read_order.decode(body)
            if order.what == "fork":
                self._fork()
            elif order.what == "kill":
                self._kill(order.pid)
            else:
                child_main.prepare(order.name)
        return True

    def _fork(self) -> None:
        line, page = self._handles
        self._handles = []
        gc.freeze()  # what is shared stays shared: collecting would write into every page
        pid = os.fork()
        if pid == 0:
            self._be_child(line, page)
        os.close(line)
        os.close(page)
        self._alive.add(pid)
        self._control.sendall(framed(News("born", pid)))

    def _be_child(self, line: int, page: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()  # what it starts ends with it
            end_with_forker()
            for own in self._own:
                own.close()
            child_main.serve(socket.socket(fileno=line), Page(page))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may return into the nursery's own loop
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _kill(self, pid: int) -> None:
        if pid in self._alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._alive:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            pid = ended.si_pid
            self._kill(pid)  # what it started; as long as it is not waited for, no other process has its number
            status = os.waitpid(pid, 0)[1]
            if pid not in self._alive:
                continue  # something that one had started and let go of
            self._alive.discard(pid)
            orphans.end_orphans(self._alive)
            self._control.sendall(framed(News("ended", pid, status)))

    def _end(self) -> None:
        for pid in self._alive:
            self._kill(pid)
        orphans.end_orphans(self._alive)


def end_with_forker() -> None:
    """Have the kernel kill this process when the one that forked it ends, where it can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def main() -> None:
    """Serve the gateway whose socket's handle is the first argument."""
    with suppress(BrokenPipeError, ConnectionResetError):
        NurseryProcess(socket.socket(fileno=int(sys.argv[1]))).run()
