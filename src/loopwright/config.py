"""Settings of every process, from ``LOOPWRIGHT_*`` variables. Only this file reads the environment."""

import json
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, cast, get_args

import msgspec

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.lanes import LANES
from loopwright.kernel.refs import NAME
from loopwright.kernel.suggestions import nearest

Walls = Literal["on", "strict", "off"]
_SECRETS = {f"LOOPWRIGHT_{name}" for name in ("SERVICE_TOKEN", "TOKEN", "DATABASE", "ONLINE", "SOURCES")}
"""Variables that no other process is to see."""
_READ = """
STATE DATABASE BLOBS ONLINE SOURCES HOST PORT GATEWAY_PORT URL GATEWAY_URL TOKEN PROJECT SERVICE_TOKEN AUTH DURABILITY
SOURCE_ROOTS WALLS USER_FOLDERS HIDDEN SLOTS RATE SUPERVISED SECRETS USER_ENVIRONMENT GATEWAY_NAME CHECKPOINTS
CHECKPOINT_KEY
"""
_NAMES = {f"LOOPWRIGHT_{name}" for name in _READ.split()}
"""Every variable that is read."""
_FOR_USER_CODE = """
PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TZDIR TERM TMPDIR VIRTUAL_ENV CONDA_PREFIX LD_LIBRARY_PATH
PYTHONPATH PYTHONHASHSEED PYTHONWARNINGS PYTHONFAULTHANDLER PYTHONUTF8 PYTHONIOENCODING SSL_CERT_FILE SSL_CERT_DIR
OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* BLIS_* VECLIB_* NUMEXPR_* POLARS_* RAYON_NUM_THREADS MALLOC_* CUDA_* NVIDIA_*
LOOPWRIGHT_PROJECT
"""
"""What user code is given of the environment; everything else may be a credential."""
_OF_THE_MACHINE = ("/dev", "/run/secrets", "/var/run/secrets", "/etc/shadow", "/etc/gshadow", "/etc/ssl/private")
"""Raw devices, and the places where machines keep secrets."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
_ONLINE = re.compile(r"rediss?://[^\s/?#]+(/0?)?(\?(?!([^\s#]*&)?db=)[^\s#]*)?")


class Settings(msgspec.Struct, frozen=True):
    """Where state, database, blobs and servers are.

    ``state_dir`` holds everything in the embedded default. ``url`` and ``token`` point the client at a server;
    ``url`` and ``gateway_url`` may name several that stand for each other, separated by commas; ``gateway_name`` parts
    the gateways that work on one state folder;
    ``service_token`` is what worker and gateway prove themselves with; ``source_roots`` are the folders whose files
    datasets may read; ``slots`` says how many jobs of a lane a worker does at once, where it says so; ``walls`` how
    user code is shut in, ``user_folders`` where it may write beside its scratch space, ``hidden`` what else is closed
    to it and to sources; ``rate`` says how many requests a second one token may send to a server or
    a gateway, 0 for any number; ``checkpoints_url`` is where the event log's signed checkpoints are, ``checkpoint_key``
    the file with the keys they are signed with, None where the service token is that;
    ``online_url`` is the server that holds the online stores, empty for files in the state folder;
    ``sources`` names the brokers and databases that datasets may be read from (``read_addresses``);
    ``is_supervised`` marks a process that ends with its parent.
    """

    state_dir: Path
    database_url: str
    blobs_url: str
    host: str
    port: int
    gateway_port: int
    url: str
    gateway_url: str
    token: str
    project: str
    service_token: str
    auth: str
    durability: str
    source_roots: tuple[Path, ...] = ()
    slots: dict[str, int] = {}
    walls: Walls = "on"
    user_folders: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    gateway_name: str = "0"
    rate: int = 1000
    checkpoints_url: str = ""
    checkpoint_key: Path | None = None
    is_supervised: bool = False
    online_url: str = ""
    sources: str = ""

    @property
    def server_file(self) -> Path:
        """The file in which a running server says where it is."""
        return self.state_dir / "server.json"


STATE = ".loopwright"
"""The state folder where none is named."""


def load_settings(state_dir: str | Path | None = None, *, here: bool = False) -> Settings:
    """Read the settings; ``state_dir`` overrides ``LOOPWRIGHT_STATE``.

    Where neither is given the state folder is ``.loopwright`` here, or in the nearest folder above that has one; what
    starts a platform asks for ``here``, so that none is started on a folder far above by surprise.
    """
    read = os.environ.get
    named = state_dir or read("LOOPWRIGHT_STATE")
    folder = Path(named).absolute() if named else _nearest_state(Path.cwd(), is_near_enough=here)
    return Settings(
        state_dir=folder,
        database_url=read("LOOPWRIGHT_DATABASE") or f"sqlite:///{folder / 'loopwright.db'}",
        blobs_url=read("LOOPWRIGHT_BLOBS") or str(folder / "blobs"),
        host=read("LOOPWRIGHT_HOST") or "127.0.0.1",
        port=_port("LOOPWRIGHT_PORT", 8400),
        gateway_port=_port("LOOPWRIGHT_GATEWAY_PORT", 8401),
        url=_urls("LOOPWRIGHT_URL"),
        gateway_url=_urls("LOOPWRIGHT_GATEWAY_URL"),
        token=read("LOOPWRIGHT_TOKEN") or "",
        project=read("LOOPWRIGHT_PROJECT") or "",
        service_token=read("LOOPWRIGHT_SERVICE_TOKEN") or "",
        auth=_choice("LOOPWRIGHT_AUTH", "", ("on", "off")),
        durability=_choice("LOOPWRIGHT_DURABILITY", "process", ("process", "power")),
        source_roots=_folders(read("LOOPWRIGHT_SOURCE_ROOTS")) or (Path.cwd(),),
        walls=cast(Walls, _choice("LOOPWRIGHT_WALLS", "on", get_args(Walls))),
        user_folders=_folders(read("LOOPWRIGHT_USER_FOLDERS")),
        hidden=_folders(read("LOOPWRIGHT_HIDDEN")),
        slots=_slots(read("LOOPWRIGHT_SLOTS")),
        gateway_name=check_gateway_name(read("LOOPWRIGHT_GATEWAY_NAME") or "0"),
        checkpoints_url=read("LOOPWRIGHT_CHECKPOINTS") or str(folder / "checkpoints"),
        checkpoint_key=next(iter(_folders(read("LOOPWRIGHT_CHECKPOINT_KEY"))), None),
        rate=_whole("LOOPWRIGHT_RATE", 1000, 10**9, "requests a second; 0 for no limit"),
        is_supervised=read("LOOPWRIGHT_SUPERVISED") == "1",
        online_url=_online_url("LOOPWRIGHT_ONLINE"),
        sources=_addresses("LOOPWRIGHT_SOURCES"),
    )


def _nearest_state(here: Path, *, is_near_enough: bool) -> Path:
    """Return the state folder of this folder or of one above; one that belongs to another user is not taken."""
    for folder in () if is_near_enough else (here, *here.parents):
        state = folder / STATE
        if state.is_dir() and state.stat().st_uid == os.getuid():
            return state
    return here / STATE


def take_settings() -> Settings:
    """Read the settings of a process of ours; its secrets come through a pipe, and are in no environment afterwards.

    What it writes from now on is readable by its own user alone.
    """
    os.umask(0o077)
    if handle := os.environ.pop("LOOPWRIGHT_SECRETS", ""):
        with os.fdopen(int(handle), encoding="utf-8") as pipe:
            os.environ.update(json.load(pipe))
    settings = load_settings()
    for name in _SECRETS:
        os.environ.pop(name, None)
    return settings


def work_in(folder: str) -> None:
    """Make a folder the one that this process, and what it starts, works in and puts temporary files into."""
    os.chdir(folder)
    os.environ["TMPDIR"] = folder


def write_secrets(**secrets: str) -> int:
    """Return the reading end of a pipe with ``LOOPWRIGHT_*`` secrets, for ``take_settings`` of a process to come.

    The environment that a process was started with stays readable for its user as long as it runs; a pipe is read once.
    """
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        json.dump(secrets, pipe)
    return reading


def _urls(name: str) -> str:
    """Return an address, or several with commas between them, as they were given."""
    text = os.environ.get(name) or ""
    for url in text.split(",") if text else ():
        if not _URL.fullmatch(url.strip()):
            rule = "http:// or https:// and a host, such as http://server:8400; several are separated by commas"
            raise InvalidInput("this is no address of a server or gateway", field=name, value=url, rule=rule)
    return text


def _online_url(name: str) -> str:
    """Return the server of the online stores; children behind strict walls could not reach it.

    Users of a Redis are of all its databases by number, and installations would take each other's.
    """
    text = os.environ.get(name) or ""
    rule = "redis://user:password@host:port/0, or rediss:// for TLS; database 0, which user code is let into"
    if text and not _ONLINE.fullmatch(text):
        shown = re.sub(r"//.*@", "//", text)
        raise InvalidInput("this is no address of an online store", field=name, value=shown, rule=rule)
    if text and os.environ.get("LOOPWRIGHT_WALLS") == "strict":
        raise InvalidInput(
            "behind strict walls no code reaches a store over the network",
            field="LOOPWRIGHT_WALLS",
            value="strict",
            next_step="leave LOOPWRIGHT_ONLINE out, or set LOOPWRIGHT_WALLS=on",
        )
    return text


def _addresses(name: str) -> str:
    text = os.environ.get(name) or ""
    read_addresses(text)
    return text


def read_addresses(text: str) -> dict[tuple[str, str], str]:
    """Return the addresses of a list such as ``flights/events=redis://host:6379 */more=kafka://host:9092``.

    Returns:
        Address by project and name; ``*`` is every project.

    Raises:
        InvalidInput: One says not what it is for.
    """
    addresses = {}
    for part in text.split():
        head, _, url = part.partition("=")
        project, _, source = head.partition("/")
        is_named = project == "*" or (NAME.match(project) and ".." not in project)
        if not (is_named and NAME.match(source) and re.match(r"[a-z][a-z0-9+]*://.", url)):
            rule = "project/name=scheme://…, separated by blanks; */name is for every project"
            shown = f"{head}={re.sub(r'//.*@', '//', url)}"
            raise InvalidInput("this names no source", field="LOOPWRIGHT_SOURCES", value=shown, rule=rule)
        addresses[project, source] = url
    return addresses


def _port(name: str, default: int) -> int:
    return _whole(name, default, 65536, "a port", least=1)


def _whole(name: str, default: int, below: int, what: str, least: int = 0) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and least <= int(text) < below):
        rule = f"a whole number from {least} and below {below}" if least else f"a whole number below {below}"
        raise InvalidInput(f"this is not {what}", field=name, value=text, rule=rule)
    return int(text)


def check_gateway_name(text: str) -> str:
    """Return what a gateway may be called.

    Raises:
        InvalidInput: It would make no good name of a folder.
    """
    if not _NAME.fullmatch(text):
        rule = "up to 40 of a-z, 0-9 and -: it becomes part of a folder's name"
        raise InvalidInput("no gateway can be named so", field="LOOPWRIGHT_GATEWAY_NAME", value=text, rule=rule)
    return text


def _folders(text: str | None) -> tuple[Path, ...]:
    """Return the folders of a list such as ``/data:/more``."""
    return tuple(Path(one).expanduser().absolute() for one in (text or "").split(os.pathsep) if one)


def _choice(name: str, default: str, known: tuple[str, ...]) -> str:
    text = os.environ.get(name) or default
    if text != default and text not in known:
        raise InvalidInput("this setting has no such value", field=name, value=text, rule=f"one of {', '.join(known)}")
    return text


def unknown_settings() -> dict[str, str | None]:
    """Return the ``LOOPWRIGHT_*`` variables that nothing reads, each with the name that was probably meant."""
    set_here = {name for name in os.environ if name.startswith("LOOPWRIGHT_")}
    return {name: nearest(name, _NAMES) for name in sorted(set_here - _NAMES)}


def home_secrets() -> Iterator[Path]:
    """Yield the hidden entries of the user's home folder, where programs keep credentials; caches are none.

    Users that run services often have no home that is there, or none that they may list: nothing of theirs is in it.
    """
    try:
        entries = os.scandir(_home())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    with entries:
        yield from (Path(entry.path) for entry in entries if entry.name.startswith(".") and entry.name != ".cache")


def _slots(text: str | None) -> dict[str, int]:
    """Return the numbers of a list such as ``looks=2,training=1``."""
    slots = {}
    for part in (text or "").split(","):
        lane, _, number = part.strip().partition("=")
        if part.strip():
            if not (number.isascii() and number.isdecimal() and int(number) < 1000):
                rule = "lane=number, separated by commas, such as looks=2,work=2,training=1"
                raise InvalidInput("this is no number of slots", field="LOOPWRIGHT_SLOTS", value=part, rule=rule)
            slots[_lane(lane.strip())] = int(number)
    return slots


def _lane(name: str) -> str:
    if name not in LANES:
        rule, near = f"one of {', '.join(LANES)}", nearest(name, LANES)
        next_step = f"did you mean {near}?" if near else None
        raise InvalidInput(
            "no lane has this name", field="LOOPWRIGHT_SLOTS", value=name, rule=rule, next_step=next_step
        )
    return name


def config_folder() -> Path:
    """Return the folder with what one user keeps for every project: ``loopwright`` in the user's config folder."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config") / "loopwright"


def _home() -> Path:
    """Return the user's home folder; that of the machine where HOME is not set and nobody knows the user."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def child_environment(**extra: str) -> dict[str, str]:
    """Return the environment for a process of ours, with some variables set and no secret of ours."""
    return {**{name: value for name, value in os.environ.items() if name not in _SECRETS}, **extra}


def variables_of(settings: Settings) -> dict[str, str]:
    """Return the variables that settings are read from, but for secrets: ``load_settings`` backwards."""
    return {
        "LOOPWRIGHT_STATE": str(settings.state_dir),
        "LOOPWRIGHT_BLOBS": settings.blobs_url,
        "LOOPWRIGHT_HOST": settings.host,
        "LOOPWRIGHT_PORT": str(settings.port),
        "LOOPWRIGHT_GATEWAY_PORT": str(settings.gateway_port),
        "LOOPWRIGHT_URL": settings.url,
        "LOOPWRIGHT_GATEWAY_URL": settings.gateway_url,
        "LOOPWRIGHT_PROJECT": settings.project,
        "LOOPWRIGHT_AUTH": settings.auth,
        "LOOPWRIGHT_DURABILITY": settings.durability,
        "LOOPWRIGHT_SOURCE_ROOTS": os.pathsep.join(map(str, settings.source_roots)),
        "LOOPWRIGHT_SLOTS": ",".join(f"{lane}={number}" for lane, number in settings.slots.items()),
        "LOOPWRIGHT_WALLS": settings.walls,
        "LOOPWRIGHT_USER_FOLDERS": os.pathsep.join(map(str, settings.user_folders)),
        "LOOPWRIGHT_HIDDEN": os.pathsep.join(map(str, settings.hidden)),
        "LOOPWRIGHT_GATEWAY_NAME": settings.gateway_name,
        "LOOPWRIGHT_RATE": str(settings.rate),
        "LOOPWRIGHT_CHECKPOINTS": settings.checkpoints_url,
        "LOOPWRIGHT_CHECKPOINT_KEY": str(settings.checkpoint_key or ""),
        "LOOPWRIGHT_SUPERVISED": "1" if settings.is_supervised else "",
    }


def user_code_environment() -> dict[str, str]:
    """Return the environment for user code: what computing needs, and what ``LOOPWRIGHT_USER_ENVIRONMENT`` names."""
    allowed = [*_FOR_USER_CODE.split(), *os.environ.get("LOOPWRIGHT_USER_ENVIRONMENT", "").replace(",", " ").split()]
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _SECRETS and any(fnmatchcase(name, pattern) for pattern in allowed)
    }


def files_of_platform(settings: Settings) -> list[Path]:
    """Return what of the platform may lie outside the state folder.

    That is the database's file, if it is one, the blobs, and the checkpoints of the event log with their keys. Which
    database it is only a server is told; whoever starts the others names its files to them (``LOOPWRIGHT_HIDDEN``).
    """
    urls = [url.removeprefix("file://") for url in (settings.blobs_url, settings.checkpoints_url)]
    found = [*(Path(url) for url in urls if url and "://" not in url), *_database_files(settings.database_url)]
    if settings.checkpoint_key is not None:
        found.append(settings.checkpoint_key)
    return [path.absolute() for path in found]


def closed_places(settings: Settings) -> list[Path]:
    """Return what no path of a user leads to and no code of theirs opens, wherever it lies: files and folders."""
    own = [settings.state_dir, config_folder(), *files_of_platform(settings), *settings.hidden]
    return [*own, *map(Path, _OF_THE_MACHINE)]


def _database_files(url: str) -> list[Path]:
    scheme, _, path = url.partition(":///")
    if not scheme.startswith("sqlite") or not path:
        return []
    return [Path(path + ending) for ending in ("", "-wal", "-shm", "-journal")]
