"""What every benchmark shares: claims, their table and file, a project on a running platform, rivals' environments."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Table

from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.config import Settings, load_settings
from loopwright.governance import SYSTEM
from loopwright.server import Supervisor, free_port, running

HERE = Path(__file__).parent
GOALS: dict[str, Callable[[float, float], bool]] = {"<": float.__lt__, ">=": float.__ge__}


class Claim(msgspec.Struct):
    """One measured claim. ``ratio`` says how many times better ours is; ``goal`` is about it, or about ``ours``."""

    claim: str
    ours: float
    rival: float | None
    rival_name: str
    ratio: float | None
    goal: str
    unit: str
    holds: bool | None
    command: str


def timed(*ways: Callable[[], object], rounds: int = 2) -> list[float]:
    """Return the best time of each way in seconds, run in turns."""
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        for place, way in enumerate(ways):
            begun = time.perf_counter()
            way()
            best[place] = min(best[place], time.perf_counter() - begun)
    return best


class Bench:
    """Collects the claims of one benchmark.

    Args:
        name: ``bench_<name>.py`` and ``results/<name>.json``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._claims: list[Claim] = []
        self._started = time.monotonic()

    def progress(self, text: str) -> None:
        """Say what runs now."""
        print(f"  {time.monotonic() - self._started:5.1f} s  {text}", file=sys.stderr, flush=True)

    def claim(
        self,
        claim: str,
        ours: float,
        unit: str,
        *,
        rival: float | None = None,
        rival_name: str = "",
        goal: str = "",
    ) -> None:
        """Add a claim.

        Args:
            claim: What was measured.
            ours: What we took, or reached.
            unit: Ends in ``/s`` where more is better; everywhere else less is.
            rival: The same of the rival, in this run.
            rival_name: Who that is.
            goal: ``ratio >= 2``, or ``< 20`` for ours in its unit; empty for none.
        """
        ratio = None if not rival or not ours else ours / rival if unit.endswith("/s") else rival / ours
        holds = None
        if goal:
            subject, sign, bound = ["ours", *goal.split()][-3:]
            value = ratio if subject == "ratio" else ours
            holds = value is not None and GOALS[sign](float(value), float(bound))
        command = f"make bench ONLY={self.name}"
        self._claims.append(Claim(claim, ours, rival, rival_name, ratio, goal, unit, holds, command))

    def finish(self) -> None:
        """Print the table and write the file."""
        head = ("claim", "ours", "rival", "unit", "times better", "goal", "holds", "rival's name")
        rows = [head, *(_cells(claim) for claim in self._claims)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        target = HERE / "results" / f"{self.name}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(msgspec.to_builtins(self._claims), indent=1) + "\n")
        self.progress(f"written: benchmarks/results/{self.name}.json")


def _cells(claim: Claim) -> tuple[str, ...]:
    numbers = [_number(value) for value in (claim.ours, claim.rival, claim.ratio)]
    holds = {True: "yes", False: "NO", None: ""}[claim.holds]
    return (claim.claim, numbers[0], numbers[1], claim.unit, numbers[2], claim.goal, holds, claim.rival_name)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def rival_python(name: str) -> str:
    """Return the interpreter of a rival's environment, made once from ``requirements-<name>.txt``."""
    folder = HERE / ".envs" / name
    python, ready = folder / "bin" / "python", folder / ".ready"
    requirements = HERE / f"requirements-{name}.txt"
    if ready.exists() and ready.read_text() == requirements.read_text():
        return str(python)
    install = ["-q", "-r", str(requirements)]
    uv = shutil.which("uv")
    if not (uv and _ran([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)])):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        uv = None
    if not (uv and _ran([uv, "pip", "install", "--python", str(python), *install])):
        subprocess.run([str(python), "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([str(python), "-m", "pip", "install", "--disable-pip-version-check", *install], check=True)
    ready.write_text(requirements.read_text())
    return str(python)


def _ran(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def load(port: int, path: str, bodies: Path, connections: int, seconds: float = 2.0) -> dict[str, Any]:
    """Keep connections busy with POSTs from a process of its own; return requests a second and quantiles in ms.

    Args:
        port: On this machine.
        path: Where they go.
        bodies: A file with a body a line, sent in turn.
        connections: How many at once; each waits for its answer.
        seconds: How long.
    """
    command = [sys.executable, str(HERE / "load.py"), str(port), path, str(bodies), str(connections), str(seconds)]
    seen: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if seen["failures"]:
        raise SystemExit(f"{path}: {seen['failures']} requests failed")
    return seen


def insert_rows(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows to a table as they are."""
    connection.execute(table.insert(), rows)


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder that is gone afterwards, on the disk this project is on."""
    with tempfile.TemporaryDirectory(prefix=".loopwright-bench-", dir=HERE.parent) as name:
        yield Path(name)


class Platform(NamedTuple):
    """A running platform with the project ``bench``; ``remote`` may call internal verbs."""

    supervisor: Supervisor
    remote: Remote


def settings_in(folder: Path) -> Settings:
    """Return settings with the embedded defaults, on free ports."""
    return msgspec.structs.replace(load_settings(folder), port=free_port(), gateway_port=free_port())


@contextmanager
def platform(database_url: str = "") -> Iterator[Platform]:
    """Run server, worker and gateway as processes on an empty folder, with a database that is empty, or SQLite."""
    with scratch() as folder:
        settings = settings_in(folder)
        if database_url:
            settings = msgspec.structs.replace(settings, database_url=database_url)
        with _started(settings) as at:
            yield at


@contextmanager
def _started(settings: Settings) -> Iterator[Platform]:
    with running(settings) as supervisor:
        caller = HttpCaller(supervisor.server_url, supervisor.gateway_url, supervisor.settings.service_token)
        caller.call("projects.create", {"name": "bench", "owner": "bench"}, SYSTEM)
        yield Platform(supervisor, Remote("bench", caller))
        caller.close()


def serve_model(at: Platform, file: Path, task: str = "binary") -> Any:
    """Register a model file and release it as the deployment ``late``; return once the gateway answers for it."""
    from loopwright.registry.importing import import_model
    from loopwright.serving import DeploymentSpec

    remote = at.remote
    version = import_model(remote.caller, remote.project, model="late", file=file, task=task)  # type: ignore[arg-type]
    remote.call("serving.declare", spec=DeploymentSpec("late", "late", task))
    release = remote.call("serving.release", deployment="late", champion=version.version, reason="benchmark")
    while at.supervisor.gateway_url not in _acknowledged(remote, release.number):
        time.sleep(0.02)
    return release


def settle(at: Platform) -> None:
    """Let the processes finish starting, and the gateway seal once, for that loads its Parquet library."""
    import httpx

    headers = {"authorization": f"Bearer {at.supervisor.settings.service_token}"}
    httpx.post(f"{at.supervisor.gateway_url}/internal/seal", headers=headers, timeout=30).raise_for_status()
    time.sleep(3)


def _acknowledged(remote: Remote, number: int) -> set[str]:
    import httpx

    url = remote.caller.gateway_url
    ready = httpx.get(f"{url}/v2/models/late/ready").status_code == 200
    return {url} if ready and number else set()


def write_booster(file: Path, columns: int = 30, trees: int = 100) -> list[list[float]]:
    """Fit a LightGBM model of ``x0..`` on made-up rows and write its text file; return some rows of its matrix."""
    import lightgbm
    import numpy as np

    chance = np.random.default_rng(0)
    matrix = chance.normal(size=(5000, columns))
    target = (matrix[:, 0] + matrix[:, 1] * matrix[:, 2] + chance.normal(size=len(matrix)) > 0).astype(int)
    names = [f"x{place}" for place in range(columns)]
    fitted = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(matrix, target, feature_name=names),
        trees,
    )
    fitted.save_model(file)
    return [[float(value) for value in row] for row in matrix[:64].round(6)]
