"""``loopwright doctor``: what this machine offers, what is missing, and what to do."""

import errno
import json
import re
import shutil
import sys
import tempfile
import time
from contextlib import closing
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from loopwright.config import Settings
from loopwright.features import online
from loopwright.kernel.clock import WallClock, parse_moment
from loopwright.kernel.errors import LoopwrightError
from loopwright.server import check_port, disks_of, find_dying, find_running, untended
from loopwright.store.backups import sealing_command
from loopwright.store.blobs import open_blob_store, try_out
from loopwright.store.engine import Database
from loopwright.store.unwritable import HOW_TO_FREE
from loopwright.wire.addresses import Addresses, base_url
from loopwright.wire.line import HttpLine
from loopwright.wire.system_calls import can_filter
from loopwright.wire.walls import WITH_SCOPES, landlock_version

LEAST_FREE_BYTES = 2_000_000_000
ANSWER_WITHIN_S = 2.0
_CHECK_DATABASE = "is it running? check LOOPWRIGHT_DATABASE"
_PORTS = {"server": "port", "gateway": "gateway_port"}
"""The setting that holds each role's port."""
RELEASED_AT = parse_moment("2026-01-01")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    is_fine: bool
    found: str
    next_step: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything a server needs here."""
    return [
        _python(),
        *_packages(),
        *_ports(settings),
        *_dying(settings),
        *map(_disk, disks_of(settings)),
        _state_folder(settings.state_dir),
        *_spools(settings.state_dir),
        _database(settings),
        _blobs(settings),
        *([_online(settings)] if settings.online_url else []),
        _walls(settings),
        _clock(),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _packages() -> list[Finding]:
    found = []
    for name, extra in (("lightgbm", "lightgbm"), ("scikit-learn", "sklearn")):
        try:
            found.append(Finding(name, True, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append(Finding(name, True, f"not installed; models of it need: pip install 'loopwright[{extra}]'"))
    return found


def _ports(settings: Settings) -> list[Finding]:
    """Look at the ports of server and gateway: where they run, whether they answer; else whether the ports are free."""
    place = find_running(settings)
    if place is None:
        return [_free_port(settings, role) for role in _PORTS]
    urls = {"server": Addresses(place.url).urls[0], "gateway": Addresses(place.gateway_url).urls[0]}
    return [_own_port(role, urls[role]) if role in place.pids else _free_port(settings, role) for role in _PORTS]


def _dying(settings: Settings) -> list[Finding]:
    """Look whether a process of the platform that runs here keeps dying."""
    dying = find_dying(settings).items()
    return [Finding(f"{role} process", False, how, f"loopwright logs {role}") for role, how in dying]


def _own_port(role: str, url: str) -> Finding:
    answers = _answers(url)
    found = f"{urlsplit(url).port} is ours and {'answers' if answers else 'does not answer'} at {url}"
    return Finding(f"{role} port", answers, found, f"loopwright logs {role}")


def _free_port(settings: Settings, role: str) -> Finding:
    what, port = f"{role} port", getattr(settings, _PORTS[role])
    try:
        check_port(role, settings.host, port)
    except LoopwrightError as error:
        who = " by another Loopwright" if _answers(base_url(settings.host, port)) else ""
        next_step = error.next_step or f"set {error.field}: {error.rule}"
        return Finding(what, False, f"{error.value}{who}", next_step)
    return Finding(what, True, f"{port} is free")


def _answers(url: str) -> bool:
    """Say whether a server or gateway of ours answers at an address."""
    try:
        answer = HttpLine({}).send("GET", f"{url}/healthz", timeout_s=ANSWER_WITHIN_S)
        return json.loads(answer.body)["status"] in ("ok", "not ready")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk", free > LEAST_FREE_BYTES, f"{free / 1e9:.1f} GB free at {folder}", f"have at least 2 GB: {HOW_TO_FREE}"
    )


def _state_folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor") as probe:
            probe.write(b"ok")
    except OSError as error:
        next_step = HOW_TO_FREE if error.errno == errno.ENOSPC else "check its owner, or set LOOPWRIGHT_STATE"
        return Finding("state folder", False, f"{folder}: {error.strerror}", next_step)
    return Finding("state folder", True, str(folder))


def _spools(state_dir: Path) -> list[Finding]:
    """Look for rows that no gateway seals: of a gateway that is gone, or put there by a restore."""
    return [
        Finding("spool", False, one.sentence, f"once a server runs: {sealing_command(one.folder)}")
        for one in untended(state_dir.resolve())
    ]


def _database(settings: Settings) -> Finding:
    shown = settings.database_url.rsplit("@", 1)[-1]
    try:
        with closing(Database(settings.database_url)) as database, database.reading():
            pass
    except LoopwrightError as error:
        why = f"{error.message}: {error.value}" if error.value else error.message
        step = error.next_step if error.next_step and "loopwright doctor" not in error.next_step else _CHECK_DATABASE
        return Finding("database", False, f"{shown}: {why}", step)
    except Exception as error:  # noqa: BLE001 - whatever the driver raises is what the user needs to read
        return Finding("database", False, f"{shown}: {error}", _CHECK_DATABASE)
    return Finding("database", True, shown)


def _blobs(settings: Settings) -> Finding:
    try:
        store = open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")
        started = time.perf_counter()
        try_out(store)
    except LoopwrightError as error:
        step = error.next_step or "check LOOPWRIGHT_BLOBS and its credentials"
        return Finding("blob store", False, f"{settings.blobs_url}: {error.message}", step)
    except Exception as error:  # noqa: BLE001 - whatever the provider raises is what the user needs to read
        return Finding(
            "blob store", False, f"{settings.blobs_url}: {error}", "check LOOPWRIGHT_BLOBS and its credentials"
        )
    return Finding("blob store", True, f"{settings.blobs_url}, {1000 * (time.perf_counter() - started):.0f} ms a round")


def _online(settings: Settings) -> Finding:
    shown = re.sub(r"//.*@", "//", settings.online_url)
    stores = online.OnlineStores(settings.state_dir, settings.online_url, is_walled=settings.walls != "off")
    try:
        started = time.perf_counter()
        held = len(stores.projects())
        took_ms = 1000 * (time.perf_counter() - started)
        stores.try_out()
        caveat = stores.caveat()
    except LoopwrightError as error:
        return Finding("online store", False, f"{shown}: {error.message}", error.next_step or "check LOOPWRIGHT_ONLINE")
    found = f"{shown} holds {held} projects, {took_ms:.0f} ms a round"
    return Finding("online store", True, "; ".join(filter(None, [found, caveat])))


def _walls(settings: Settings) -> Finding:
    """Say what user code is kept from on this machine."""
    version = landlock_version()
    if settings.walls == "off":
        return Finding("user code", True, "no walls, as LOOPWRIGHT_WALLS=off says: it reads what the worker can")
    if not version:
        found = "no walls: this system has no Landlock, so it reads what the worker can"
        next_step = "Linux 5.13 or newer with Landlock in its list of security modules, or run only code that you trust"
        return Finding("user code", settings.walls != "strict", found, next_step)
    is_strict = settings.walls == "strict"
    found = f"walls {settings.walls}, Landlock {version}: it is kept from the platform's"
    if not can_filter():
        found += " files and the memory of processes, and can slow and starve these: no system calls are filtered"
        next_step = "a kernel with seccomp, on x86-64 or ARM64, in a container that allows it"
        return Finding("user code", not is_strict, found, next_step)
    if version >= WITH_SCOPES:
        found += " files, processes and signals"
    elif is_strict:
        found += " files, processes and signals, and from signals to its own, for this kernel cannot tell them apart"
    else:
        found += " files and processes, but for signals, which takes Linux 6.12 or strict walls"
    return Finding("user code", True, found + ("; no network" if is_strict else "; network open"))


def _clock() -> Finding:
    is_sane = WallClock().now_us() > RELEASED_AT
    return Finding(
        "clock", is_sane, "set" if is_sane else "in the past", "set the machine's clock; ids and leases need it"
    )
