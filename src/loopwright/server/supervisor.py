"""``loopwright up``: starts server, worker and gateway as processes, watches them, and stops them together."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from loopwright.config import Settings, child_environment, files_of_platform, variables_of, write_secrets
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.removing import remove
from loopwright.server.listening import check_address, listening
from loopwright.server.logs import begin_anew, last_lines
from loopwright.server.ownership import find_server, is_alive, is_worked_on, no_server, read_place, refuse_if_owned
from loopwright.server.restarts import Restarts
from loopwright.store.unwritable import unwritable_state
from loopwright.wire.addresses import base_url
from loopwright.wire.credentials import gateway_token, worker_token
from loopwright.wire.enclosing import check_walls
from loopwright.wire.endings import how_ended
from loopwright.wire.exposure import may_run_open
from loopwright.wire.line import HttpLine

ROLES = ("server", "worker", "gateway")
START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 10.0


class Supervisor:
    """Runs the processes of one state folder.

    Args:
        settings: Where and on which ports.
        roles: Which processes to run here.
        tell: Hears of each process that ends by itself, and of what keeps it from being started again.
    """

    def __init__(
        self, settings: Settings, roles: tuple[str, ...] = ROLES, tell: Callable[[str], object] = lambda _: None
    ) -> None:
        token = settings.service_token or service_token(settings.state_dir)
        self.settings = msgspec.structs.replace(settings, service_token=token)
        self._served_at = settings.url or ("" if "server" in roles else find_server(settings))
        """Where a server answers that others started, or that was named; empty where nobody has said so."""
        self._roles = roles
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logged_before: dict[str, int] = {}
        """Bytes in the log of each role that processes before this one wrote."""
        self._restarts = Restarts(tell)
        self._tell, self._why_untold = tell, ""
        self._is_stopping = False
        self.warning = ""
        """What does not hold here, for whoever started it."""

    @property
    def server_url(self) -> str:
        """Where the server answers: the one that was named, started here, or runs on the state folder."""
        return self._served_at or base_url(self.settings.host, self.settings.port)

    @property
    def runs(self) -> tuple[str, ...]:
        """The roles that run here."""
        return self._roles

    @property
    def gateway_url(self) -> str:
        """Where the gateway answers."""
        return self.settings.gateway_url or base_url(self.settings.host, self.settings.gateway_port)

    def start(self) -> None:
        """Start the processes and wait until the server and the gateway answer.

        Raises:
            InvalidInput: Clients could not be told where the gateway is, or nothing can listen there.
            Unavailable: A server works on the state folder, or none does that is needed; a port is taken or a process
                does not come up; the message says which and what to do. None is left running then.
        """
        for role in {"server", "gateway"}.intersection(self._roles):
            may_run_open(self.settings, role)  # said here, and not only in a log
        if "worker" in self._roles:
            self.warning = check_walls(self.settings.walls)
        if "server" in self._roles:
            refuse_if_owned(self.settings)
        elif not self._served_at:
            raise no_server(self.settings, self._roles)
        check_address(self.settings, self._roles)
        make_private(self.settings.state_dir)
        if not is_worked_on(self.settings.state_dir):
            _empty(self.settings.state_dir / "tmp")
        here = listening(self.settings, self._roles)
        try:
            for role in self._roles:
                self._spawn(role)
            for role, url in here.items():
                self._wait_healthy(role, url)
            for role in self._roles:  # also the one that answers nobody
                self._refuse_ended(role)
            self._tell_where()
        except BaseException:  # told to stop meanwhile, for one
            self.stop()
            raise

    def watch(self) -> None:
        """Restart processes that die, until ``stop``; whatever the disk says, this one goes on."""
        while not self._is_stopping:
            self.look()
            time.sleep(0.2)

    def look(self) -> None:
        """Start again what has died and is due, tell clients where to go where they cannot read it, keep logs short."""
        for role in self._children:
            begin_anew(self._log(role))
        for role in self._ended():
            if self._restarts.is_due(role, partial(self._how_ended, role)):
                self._start_again(role)
        has_settled = self._restarts.settle(role for role, child in self._children.items() if child.poll() is None)
        if has_settled or self._why_untold or not self.settings.server_file.exists():  # whoever wrote it may have ended
            self._tell_where()

    def _ended(self) -> list[str]:
        return [role for role, child in self._children.items() if child.poll() is not None and not self._is_stopping]

    def _start_again(self, role: str) -> None:
        try:
            self._spawn(role)
        except OSError as error:  # a disk that is full or read-only: what still runs is not ended for that
            self._restarts.failed(role, str(error))
            return
        self._tell_where()

    def _tell_where(self) -> None:
        try:
            self._write_server_file()
            self._why_untold = ""
        except OSError as error:
            if not self._why_untold:
                self._tell(f"no client of this machine can be told where the server is: {error}")
            self._why_untold = str(error)

    def _how_ended(self, role: str) -> str:
        status = self._children[role].poll() or 0
        return f"{how_ended(status)}; its last words: {self._last_words(role) or 'none'}"

    def stop(self) -> None:
        """End every process, the server last."""
        self._is_stopping = True
        for role in reversed(self._roles):
            child = self._children.get(role)
            if child is None:
                continue
            child.terminate()
            try:
                child.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        written = read_place(self.settings.server_file)
        if written is not None and written.pid == os.getpid():
            self.settings.server_file.unlink(missing_ok=True)

    def pid(self, role: str) -> int:
        """Return the process id of a role."""
        return self._children[role].pid

    def kill(self, role: str) -> None:
        """Kill a process without warning (SIGKILL); ``watch`` starts it again."""
        self._children[role].send_signal(signal.SIGKILL)
        self._children[role].wait()

    def _spawn(self, role: str) -> None:
        settings = self.settings
        log_file = self._log(role)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        told = msgspec.structs.replace(
            settings,
            url=self.server_url,
            gateway_url=self.gateway_url,
            hidden=(*settings.hidden, *files_of_platform(settings)),
            is_supervised=True,
        )
        environment = child_environment(**variables_of(told), MALLOC_ARENA_MAX="2")
        secrets = {"LOOPWRIGHT_SERVICE_TOKEN": self._credential(role)}
        if role == "server":
            secrets["LOOPWRIGHT_DATABASE"] = settings.database_url
        elif settings.online_url:
            secrets["LOOPWRIGHT_ONLINE"] = settings.online_url
        if role != "server" and settings.sources:
            secrets["LOOPWRIGHT_SOURCES"] = settings.sources
        pipe = write_secrets(**secrets)
        try:
            with log_file.open("ab") as log:
                self._logged_before[role] = log.tell()
                self._children[role] = subprocess.Popen(
                    [sys.executable, "-m", f"loopwright.{role}"],
                    env={**environment, "LOOPWRIGHT_SECRETS": str(pipe)},
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=(pipe,),
                )
            self._restarts.began(role)
        finally:
            os.close(pipe)

    def _credential(self, role: str) -> str:
        """Return what a process proves itself with: all but the server get no more than they are for."""
        token = self.settings.service_token
        if role == "server":
            return token
        return worker_token(token) if role == "worker" else gateway_token(token, self.gateway_url)

    def _wait_healthy(self, role: str, url: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        line = HttpLine({})
        while not _is_healthy(line, url):
            self._refuse_ended(role)
            if time.monotonic() > deadline:
                raise Unavailable(f"the {role} does not answer at {url}", value=self._last_words(role) or None)
            time.sleep(0.03)
        line.close()

    def _refuse_ended(self, role: str) -> None:
        if self._children[role].poll() is not None:
            what = f"the {role} did not start: {self._last_words(role) or 'it said nothing'}"
            raise Unavailable(what, next_step=f"loopwright logs {role}")

    def _log(self, role: str) -> Path:
        return self.settings.state_dir / "logs" / f"{role}.log"

    def _last_words(self, role: str) -> str:
        """Return the last line that the newest process of a role wrote; empty where it wrote none."""
        log = self._log(role)
        lines = last_lines(log, 1, self._logged_before[role]) if log.exists() else []
        return lines[-1] if lines else ""

    def _write_server_file(self) -> None:
        """Tell clients of this machine where to go. Where two work on one folder, the one with the server does."""
        place = self.settings.server_file
        before = read_place(place)
        if before is not None and before.pid != os.getpid() and "server" not in self._roles and is_alive(before.pid):
            return
        pids = {role: child.pid for role, child in self._children.items()}
        gateway_url = (
            self.gateway_url if "gateway" in self._roles else self.settings.gateway_url
        )  # empty: ask the server
        document = {"url": self.server_url, "gateway_url": gateway_url, "pid": os.getpid(), "pids": pids}
        document["dying"] = self._restarts.dying()
        draft = place.with_suffix(".tmp")
        draft.write_text(json.dumps(document))
        draft.replace(place)


def make_private(state_dir: Path) -> None:
    """Close a state folder to other users of the machine, also one that was there already and open.

    Raises:
        Unavailable: It belongs to somebody else.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        state_dir.chmod(0o700)
    except OSError as error:
        raise unwritable_state(error, state_dir) from None


def service_token(state_dir: Path) -> str:
    """Return the secret of the platform's own processes, made once and readable by its owner only."""
    place = state_dir / "service.token"
    token = "lws_" + secrets.token_urlsafe(32)
    try:
        while not (kept := place.read_text().strip() if place.exists() else ""):
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=".service.token", dir=state_dir)
            with os.fdopen(handle, "w") as file:
                file.write(token)
                file.flush()
                os.fsync(file.fileno())  # what is signed with it outlives a power cut, and so must it
            try:
                os.link(draft, place)  # of two that start at once the first one's is both's
                Path(draft).unlink()
            except FileExistsError:
                Path(draft).unlink() if place.read_text().strip() else Path(draft).replace(place)
    except OSError as error:
        raise unwritable_state(error, state_dir) from None
    return kept


def _empty(folder: Path) -> None:
    """Delete what a folder holds; the folder stays for those who begin to use it meanwhile."""
    for left in folder.iterdir() if folder.is_dir() else ():
        remove(left)


def _is_healthy(line: HttpLine, url: str) -> bool:
    """Say whether a process answers; one that says what keeps it from being ready is up, and needs a person."""
    with contextlib.suppress(OSError):
        return line.send("GET", f"{url}/healthz", timeout_s=1.0).status in (200, 503)
    return False


@contextlib.contextmanager
def running(settings: Settings, roles: tuple[str, ...] = ROLES) -> Iterator[Supervisor]:
    """Run the processes for the length of a block; for tests and the demo."""
    supervisor = Supervisor(settings, roles)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
