"""A worker for the tests of data: real verbs through the dispatcher, real blobs, user code in a real child process."""

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.data import CheckSpec, DatasetSpec, DatasetVersion, ImportResult, KnownAt, SourceSpec, read
from loopwright.governance import Dispatcher
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import error_from_dict
from loopwright.store.blobs import BlobStore
from loopwright.store.types import BlobRef
from tests.inprocess import InProcessWorker


@pytest.fixture
def worker(
    dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InProcessWorker]:
    """A worker whose temporary files lie where no others do, and which leaves none."""
    (tmp_path / "state").mkdir()
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield InProcessWorker(dispatcher, blob_store, tmp_path / "state", dispatcher.wall, source_roots=[tmp_path])
    assert list(temporary.iterdir()) == []


@pytest.fixture
def import_rows(worker: InProcessWorker, call: Callable[..., Any]) -> Callable[..., ImportResult]:
    """Import a frame and return how it ended; an error of the job is raised."""

    def run(dataset: str, frame: pl.DataFrame, operation: str = "append", **options: Any) -> ImportResult:
        blobs = [put_frame(worker.blobs, frame)]
        call("data.start_import", dataset=dataset, operation=operation, blobs=blobs, **options)
        (job,) = worker.run_all()
        if job.error is not None:
            raise error_from_dict(job.error)
        return convert(job.result, ImportResult)

    return run


def put_frame(blobs: BlobStore, frame: pl.DataFrame) -> BlobRef:
    body = io.BytesIO()
    frame.write_parquet(body)
    return blobs.put(body.getvalue())


def weather_spec(**changes: Any) -> DatasetSpec:
    fields: dict[str, Any] = {
        "name": "weather",
        "source": SourceSpec("push"),
        "key": ["origin", "observed_at"],
        "time": "observed_at",
        "known_at": {"*": KnownAt("observed_at", 3_600_000_000)},
        "checks": [CheckSpec("between", "temp", {"low": -60, "high": 60})],
    }
    return DatasetSpec(**{**fields, **changes})


def weather(day: int, hours: int = 24, temp: float = 10.0, origins: tuple[str, ...] = ("JFK",)) -> pl.DataFrame:
    """Hourly weather of one day of March 2013."""
    start = pl.datetime(2013, 3, day, time_zone="UTC")
    hour = pl.DataFrame({"hour": range(hours)}).select(
        observed_at=start + pl.duration(hours="hour"), hour=pl.col("hour")
    )
    frame = hour.join(pl.DataFrame({"origin": list(origins)}), how="cross")
    return frame.select("origin", "observed_at", temp=pl.col("hour") + temp, wind=pl.col("hour").cast(pl.Int64) * 2)


def rows_of(version: DatasetVersion, blobs: BlobStore) -> pl.DataFrame:
    return read.scan(version, blobs, may_be_quarantined=True).collect()
