"""``loopwright doctor``: what this machine offers, what is missing, and what to do."""

import shutil
import socket
import sys
import time
from importlib import metadata
from pathlib import Path

import msgspec

from loopwright.config import Settings
from loopwright.kernel.clock import WallClock, parse_moment
from loopwright.kernel.errors import LoopwrightError
from loopwright.store.blobs import open_blob_store
from loopwright.store.engine import Database

LEAST_FREE_BYTES = 2_000_000_000
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
        _disk(settings.state_dir),
        _state_folder(settings.state_dir),
        _database(settings),
        _blobs(settings),
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
    if settings.server_file.exists():
        return [Finding("server", True, f"running, see {settings.server_file}")]
    found = []
    for what, port, variable in (
        ("server port", settings.port, "LOOPWRIGHT_PORT"),
        ("gateway port", settings.gateway_port, "LOOPWRIGHT_GATEWAY_PORT"),
    ):
        with socket.socket() as probe:
            is_free = probe.connect_ex((settings.host, port)) != 0
        state = "is free" if is_free else "is taken"
        found.append(Finding(what, is_free, f"{port} {state}", f"stop what listens there, or set {variable}"))
    return found


def _disk(folder: Path) -> Finding:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    return Finding("disk", free > LEAST_FREE_BYTES, f"{free / 1e9:.1f} GB free at {place}", "free at least 2 GB")


def _state_folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_text("ok")
        probe.unlink()
    except OSError as error:
        return Finding("state folder", False, f"{folder}: {error.strerror}", "check its owner, or set LOOPWRIGHT_STATE")
    return Finding("state folder", True, str(folder))


def _database(settings: Settings) -> Finding:
    shown = settings.database_url.rsplit("@", 1)[-1]
    try:
        database = Database(settings.database_url)
        with database.reading():
            pass
        database.close()
    except LoopwrightError as error:
        return Finding("database", False, f"{shown}: {error}", "check LOOPWRIGHT_DATABASE")
    except Exception as error:  # noqa: BLE001 - whatever the driver raises is what the user needs to read
        return Finding("database", False, f"{shown}: {error}", "is it running? check LOOPWRIGHT_DATABASE")
    return Finding("database", True, shown)


def _blobs(settings: Settings) -> Finding:
    try:
        store = open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")
        started = time.perf_counter()
        ref = store.put(b"doctor")
        is_same = store.get(ref.digest) == b"doctor"
        store.delete(ref.digest)
    except Exception as error:  # noqa: BLE001 - whatever the provider raises is what the user needs to read
        return Finding(
            "blob store", False, f"{settings.blobs_url}: {error}", "check LOOPWRIGHT_BLOBS and its credentials"
        )
    return Finding(
        "blob store", is_same, f"{settings.blobs_url}, {1000 * (time.perf_counter() - started):.0f} ms a round"
    )


def _clock() -> Finding:
    is_sane = WallClock().now_us() > RELEASED_AT
    return Finding(
        "clock", is_sane, "set" if is_sane else "in the past", "set the machine's clock; ids and leases need it"
    )
