"""Reading apart from the worker: what ends a reader ends one import, and what it says is no word of a file."""

import io
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.data import SourceSpec, reading
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, StorageFull, TooLarge, Unavailable
from loopwright.pipelines import ChildPool
from tests.data.conftest import rows_of, weather, weather_spec
from tests.data.sources.test_excel import workbook
from tests.inprocess import InProcessWorker, read_here

Call = Callable[..., Any]


@pytest.fixture
def in_children(worker: InProcessWorker, tmp_path: Path) -> InProcessWorker:
    """A worker whose files are read in child processes, as those of workers are."""
    worker.children = ChildPool(tmp_path / "children", worker.blobs, most_bytes=2_000_000_000)
    worker.read = partial(worker.children.read, roots=worker.source_roots)
    return worker


def far_apart() -> bytes:
    """Return a workbook of 1.4 kB with two cells, as far from each other as a sheet allows."""
    body = io.BytesIO(workbook(S=[["id"]]))
    with zipfile.ZipFile(body) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    cells = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts["xl/worksheets/sheet1.xml"] = f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'.encode()
    with zipfile.ZipFile(body := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return body.getvalue()


@pytest.mark.slow
def test_a_workbook_that_crashes_its_reader_fails_its_own_import_alone(
    call: Call, in_children: InProcessWorker, tmp_path: Path
) -> None:
    """Its reader asks for 512 GiB, and aborts: in the worker that took the jobs of every project along."""
    pytest.importorskip("fastexcel")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "far.xlsx").write_bytes(far_apart())
    weather(1).write_csv(tmp_path / "rows" / "1.csv")
    call("data.declare", spec=weather_spec(source=SourceSpec("excel", str(tmp_path / "rows" / "far.xlsx"))))
    call("data.start_import", dataset="weather")
    (job,) = in_children.run_all()
    assert "far.xlsx could not be read: the reader" in job.error["message"]
    assert (job.state, job.attempt) == ("failed", 1)
    assert call("data.import_result", job_id=job.job_id).state == "failed"
    # Files, frames that were sent, and errors: as in the worker's own process.
    call("data.declare", spec=weather_spec(source=SourceSpec("csv", str(tmp_path / "rows" / "1.csv"))))
    call("data.start_import", dataset="weather")
    (job,) = in_children.run_all()
    assert job.error is None
    version = call("data.get_version", dataset="weather")
    assert rows_of(version, in_children.blobs).height == weather(1).height
    body = io.BytesIO()
    weather(2).write_parquet(body)
    for sent, told in ((body.getvalue(), None), (b"PAR1 and no more PAR1", "these rows cannot be read")):
        ref = in_children.blobs.put(sent)
        call("data.start_import", dataset="weather", blobs=[{"digest": ref.digest, "size_bytes": ref.size_bytes}])
        (job,) = in_children.run_all()
        assert (job.error is None) if told is None else (told in job.error["message"])
    (tmp_path / "rows" / "1.csv").write_text("station,at,temp\na,secret\n")
    call("data.start_import", dataset="weather")
    (job,) = in_children.run_all()
    assert job.error["code"] == "invalid_input"
    assert "secret" not in str(job.error)


def read_one(path: Path, tmp_path: Path) -> pl.DataFrame:
    out, scratch = tmp_path / "out.parquet", tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    source = {"kind": "csv", "location": str(path)}
    reading.read(
        out, scratch, {}, source=source, place="a.csv", known={}, hidden=[], allowed=[str(tmp_path)], closed=[]
    )
    return pl.read_parquet(out)


def test_what_a_reader_says_of_a_file_ends_where_it_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")

    def fail(error: BaseException) -> Callable[..., None]:
        def sink(*_: Any, **__: Any) -> None:
            raise error

        return sink

    for error, kind, told in (
        (RuntimeError("secret"), InvalidInput, "RuntimeError"),
        (pl.exceptions.ComputeError("secret"), InvalidInput, "does not fit"),
        (pl.exceptions.ComputeError("secret: File too large (os error 27)"), TooLarge, "more room on the disk"),
        (pl.exceptions.ComputeError("secret: No space left (os error 28)"), StorageFull, "the disk is full"),
    ):
        monkeypatch.setattr(pl.LazyFrame, "sink_parquet", fail(error))
        with pytest.raises(kind, match=told) as refused:
            read_one(tmp_path / "a.csv", tmp_path)
        assert "secret" not in str(refused.value)
        assert refused.value.__suppress_context__


def test_a_file_that_is_written_to_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    sink = pl.LazyFrame.sink_parquet

    def write_and_sink(rows: pl.LazyFrame, *args: Any, **options: Any) -> None:
        with (tmp_path / "a.csv").open("a") as more:
            more.write("2\n")
        sink(rows, *args, **options)

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", write_and_sink)
    with pytest.raises(Unavailable, match="changed while they were read"):
        read_one(tmp_path / "a.csv", tmp_path)
    monkeypatch.undo()
    assert read_one(tmp_path / "a.csv", tmp_path)["a"].to_list() == [1, 2]


def test_what_a_transform_returns_is_read_apart_too(
    call: Call, worker: InProcessWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is user code's word: a file that ends its reader would end the worker."""
    (worker.state_dir / "stations.py").write_text("def same(rows):\n    return rows\n")
    (tmp_path / "rows").mkdir()
    weather(1).write_csv(tmp_path / "rows" / "1.csv")
    code = CodeRef("0" * 64, "stations", "same", "f" * 64)
    call("data.declare", spec=weather_spec(source=SourceSpec("csv", str(tmp_path / "rows")), transform=code))
    call("data.start_import", dataset="weather")

    def crash(function: str, inputs: Any, files: Any, out: Path, *, what: str, **_: Any) -> Any:
        if what.startswith("what the transform"):
            raise InvalidInput(f"{what} could not be read: the reader ended by SIGABRT")
        return read_here(function, inputs, files, out, what=what)

    worker.read = crash
    opened = pl.read_parquet
    monkeypatch.setattr(pl, "read_parquet", lambda path, **options: opened(_ours(path), **options))
    (job,) = worker.run_all()
    assert job.error["message"] == "what the transform returned could not be read: the reader ended by SIGABRT"
    worker.read = read_here
    call("data.start_import", dataset="weather")
    (job,) = worker.run_all()
    assert job.error is None


def _ours(path: Path) -> Path:
    assert path.name != "out.parquet", "a file that user code wrote was opened in the worker"
    return path
