"""The flights example on a small slice: fewer trees, shorter steps, the same declarations."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import polars as pl

from loopwright.cli.project import load_project
from loopwright.client.applying import apply_project
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.kernel.clock import parse_moment
from loopwright.loop import Replay, Requests, Stream

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
START = parse_moment("2013-03-01T05:00:00Z")
ASKED = ["flight_id", "scheduled_at", "carrier", "origin", "dest", "tailnum", "distance"]

SHORTER = {
    "trees: int = 100": "trees: int = 20",
    'lw.Shadow("7d",': 'lw.Shadow("1d",',
    'lw.Canary([0.05, 0.25], hold="6h"': 'lw.Canary([0.5], hold="3h"',
    '        lw.gate.beats_champion("roc_auc"),\n': "",  # days after the first model, its rows are held out again
    "lw.gate.latency(p99_ms=5)": "lw.gate.latency(p99_ms=50)",
    'lw.gate.at_least("roc_auc", 0.65)': 'lw.gate.at_least("roc_auc", 0.5)',
    "margin=0.01": "margin=0.05",
}


def ingest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ingest", EXAMPLE / "ingest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ingest"] = module
    spec.loader.exec_module(module)
    return module


def write_slice(folder: Path, changes: dict[str, str] = SHORTER) -> Path:
    """Write the example with some texts replaced, and its history; returns the project file."""
    text = (EXAMPLE / "flights.py").read_text()
    for before, after in changes.items():
        assert before in text, f"the example no longer says {before}"
        text = text.replace(before, after)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flights.py").write_text(text)
    module = ingest()
    files = module.package_files()
    flights, weather = module.read_flights(files), module.read_weather(files)
    recent = parse_moment("2013-02-01T05:00:00Z")
    moment = pl.lit(recent).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    module.write_history(
        folder / "data",
        flights.filter(pl.col("scheduled_at") >= moment),
        weather.filter(pl.col("observed_at") >= moment),
    )
    return folder / "flights.py"


def apply_file(file: Path, caller: HttpCaller) -> Remote:
    project = load_project(file)
    assert apply_project(project, None, caller).is_applied
    return Remote(project.name, caller)


def read_history(days: int) -> tuple[list[Stream], Requests]:
    """Return what becomes known and what is asked in so many days from the start."""
    module = ingest()
    files = module.package_files()
    first = pl.lit(START).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    last = first + pl.duration(days=days)
    flights = module.read_flights(files).filter(
        pl.col("scheduled_at").is_between(first - pl.duration(days=2), last, closed="left")
    )
    weather = module.read_weather(files).filter(pl.col("observed_at").is_between(first - pl.duration(days=2), last))
    known = flights.with_columns(settled_at=module.settled_at(flights))
    observed = weather.with_columns(complete_at=pl.col("observed_at") + pl.duration(hours=1))
    asked = flights.filter(pl.col("scheduled_at") >= first).select(
        *ASKED, event_at="scheduled_at", is_late=pl.col("arr_delay") > 15, landed_at="landed_at"
    )
    streams = [Stream("flights", known, "settled_at"), Stream("weather", observed, "complete_at")]
    return streams, Requests(asked, event_at="event_at", label="is_late", label_at="landed_at")


def make_replay(remote: Remote, days: int) -> Replay:
    """Return the driver of so many days of the deployment ``late``."""
    streams, requests = read_history(days)
    return Replay(remote, "late", streams, requests)
