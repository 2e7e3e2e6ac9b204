"""Import jobs from declared sources, with the user's transform in a child process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import CheckSpec, SourceSpec
from loopwright.data.sources.csv import CsvFiles
from loopwright.kernel.code import CodeRef
from loopwright.wire import sizes
from tests.data.conftest import rows_of, weather, weather_spec
from tests.inprocess import InProcessWorker

CODE = """
import msgspec
import polars as pl

def celsius(rows):
    return rows.with_columns(temp=(pl.col("temp") - 32) / 1.8)

def locally(rows):
    return rows.with_columns(pl.col("seen", "told").dt.replace_time_zone("Europe/Berlin"))

def broken(rows):
    raise ValueError("no such station")
"""
Call = Callable[..., Any]


@pytest.fixture
def source(tmp_path: Path, worker: InProcessWorker) -> SourceSpec:
    (worker.state_dir / "stations.py").write_text(CODE)
    (tmp_path / "rows").mkdir()
    weather(1, temp=41.0).write_csv(tmp_path / "rows" / "1.csv")
    return SourceSpec("csv", str(tmp_path / "rows"))


def test_rows_are_read_transformed_and_kept(
    call: Call, worker: InProcessWorker, source: SourceSpec, tmp_path: Path
) -> None:
    code = CodeRef("0" * 64, "stations", "celsius", "f" * 64)
    call("data.declare", spec=weather_spec(source=source, transform=code))
    call("data.start_import", dataset="weather", reason="first day")
    (job,) = worker.run_all()
    assert job.error is None
    version = call("data.get_version", dataset="weather")
    assert (version.reason, version.spec.transform) == ("first day", code)
    assert rows_of(version, worker.blobs)["temp"][0] == pytest.approx(5.0)
    # The folder again, with one day more: what is known already is dropped.
    weather(2, temp=41.0).write_csv(tmp_path / "rows" / "2.csv")
    call("data.start_import", dataset="weather")
    (job,) = worker.run_all()
    assert job.result == {
        "state": "ready",
        "version": 2,
        "rows": 24,
        "dropped_rows": 24,
        "message": "",
        "changed_rows": 0,
    }


def test_a_column_without_a_value_comes_to_the_transform_as_it_did_before(
    call: Call, worker: InProcessWorker, source: SourceSpec, tmp_path: Path
) -> None:
    """New rows have no outcome yet, in a file as in a frame."""
    spec = weather_spec(name="cases", key=["id"], time="seen", known_at={}, checks=[], source=source)
    spec = msgspec.structs.replace(spec, transform=CodeRef("0" * 64, "stations", "locally", "f" * 64))
    call("data.declare", spec=spec)
    (tmp_path / "rows" / "1.csv").write_text("id,seen,told\n1,2025-01-01T00:00,2025-01-02T00:00\n")
    call("data.start_import", dataset="cases")
    assert [job.error for job in worker.run_all()] == [None]
    (tmp_path / "rows" / "1.csv").write_text("id,seen,told\n2,2025-01-03T00:00,\n")
    call("data.start_import", dataset="cases")
    assert [job.error for job in worker.run_all()] == [None]
    sent = tmp_path / "sent.parquet"
    pl.DataFrame({"id": [3], "seen": ["2025-01-04T00:00"], "told": [None]}).with_columns(
        pl.col("seen").str.to_datetime()
    ).write_parquet(sent)
    call("data.start_import", dataset="cases", blobs=[worker.blobs.put(sent.read_bytes())])
    assert [job.error for job in worker.run_all()] == [None]
    assert rows_of(call("data.get_version", dataset="cases"), worker.blobs).sort("id")["told"].null_count() == 2


def test_the_users_error_is_what_the_user_reads(call: Call, worker: InProcessWorker, source: SourceSpec) -> None:
    spec = weather_spec(source=source, transform=CodeRef("0" * 64, "stations", "broken", "f" * 64))
    call("data.declare", spec=spec)
    call("data.start_import", dataset="weather")
    (job,) = worker.run_all()
    assert job.error == {"code": "step_failed", "message": "ValueError: no such station"}
    assert call("data.import_result", job_id=job.job_id).message == "ValueError: no such station"


@pytest.mark.parametrize("letters", [3, 1000])
def test_rows_that_do_not_fit_are_refused_before_or_after_they_are_read(
    call: Call, worker: InProcessWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, letters: int
) -> None:
    """The worker does the jobs of every project: a small file that becomes a large frame would end them all."""
    (tmp_path / "rows").mkdir()
    weather(1).with_columns(note=pl.lit("x" * letters)).write_parquet(tmp_path / "rows" / "1.parquet")
    monkeypatch.setattr(sizes, "MOST_BYTES", 200 if letters == 3 else 20_000)
    call("data.declare", spec=weather_spec(source=SourceSpec("parquet", str(tmp_path / "rows"))))
    call("data.start_import", dataset="weather")
    (job,) = worker.run_all()
    assert "GB in memory" in job.error["message"]
    assert call("data.import_result", job_id=job.job_id).state == "failed"


@pytest.mark.parametrize("panics", [True, False])
def test_a_file_at_which_the_reader_panics_is_damaged(
    call: Call, worker: InProcessWorker, source: SourceSpec, monkeypatch: pytest.MonkeyPatch, panics: bool
) -> None:
    error = pl.exceptions.PanicException if panics else pl.exceptions.ComputeError

    def panic(*_: Any, **__: Any) -> Any:
        raise error("called `Result::unwrap()` on an `Err` value")

    call("data.declare", spec=weather_spec(source=source))
    call("data.start_import", dataset="weather")
    monkeypatch.setattr(CsvFiles, "open", panic)
    (job,) = worker.run_all()
    assert "these rows cannot be read" in job.error["message"]
    assert "unwrap" not in str(job.error)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_source_is_no_way_to_the_platforms_own_files(
    call: Call, worker: InProcessWorker, tmp_path: Path, kind: str
) -> None:
    """The worker can read its token, and everything that an import says is read by viewers."""
    secret = "lws_7c1f0"
    (worker.state_dir / "service.token").write_text(secret)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / f"token.{kind}").symlink_to(worker.state_dir / "service.token")
    (tmp_path / ".env").write_text(secret)
    (tmp_path / f"plain.{kind}").write_text(f"{secret}\n1,2\n")
    state = str(worker.state_dir)
    for location in (
        f"{state}/service.token",
        f"{state}/*.token",
        f"{tmp_path}/*/service.token",
        f"{tmp_path}/rows/../state/service.token",
        f"{tmp_path}/rows",
        f"{tmp_path}/rows/token.{kind}",
        f"{tmp_path}/.env",
        f"{tmp_path}/plain.{kind}",
        "/etc/passwd",
        "/proc/self/environ",
    ):
        call("data.declare", spec=weather_spec(source=SourceSpec(kind, location), checks=[]))  # type: ignore[arg-type]
        call("data.start_import", dataset="weather", operation="replace")
        (job,) = worker.run_all()
        assert job.error is not None, location
        told = str([job, call("audit.list"), call("data.import_result", job_id=job.job_id)])
        assert secret not in told, location
        assert "root:" not in told, location
        assert job.error["message"] != "no file is there", location


def test_an_append_reads_its_files_as_they_were_read_before(
    call: Call, worker: InProcessWorker, tmp_path: Path
) -> None:
    def imported(text: str, operation: str) -> Any:
        (tmp_path / "rows" / "1.csv").write_text(text)
        call("data.start_import", dataset="codes", operation=operation)
        (job,) = worker.run_all()
        return job

    (tmp_path / "rows").mkdir(exist_ok=True)
    spec = weather_spec(name="codes", key=["id"], time=None, known_at={}, checks=[])
    call("data.declare", spec=msgspec.structs.replace(spec, source=SourceSpec("csv", str(tmp_path / "rows"))))
    assert imported("id,zip,n,late\n1,02116,7,\n", "append").error is None
    assert imported("id,zip,n,late\n2,10115,8,\n", "append").error is None
    version = call("data.get_version", dataset="codes")
    assert rows_of(version, worker.blobs).sort("id")["zip"].to_list() == ["02116", "10115"]
    assert {column.name: column.dtype for column in version.raw}["late"] == "Null"
    refused = imported("id,zip,n,late\n3,10115,9,1.5\n4,1,many,2\n", "append")
    assert "line 3, column n: 'many' is no Int64, as it was before" in refused.error["message"]
    assert imported("id,zip,n,late\n3,10115,9,1.5\n", "append").error is None
    assert {column.name: column.dtype for column in call("data.get_version", dataset="codes").raw}["late"] == "Float64"
    assert imported("id,zip,n,late\n9,4,many,\n", "replace").error is None
    (newest,) = call("data.versions", dataset="codes", limit=1)
    assert {column.name: column.dtype for column in newest.schema} == {
        "id": "Int64",
        "zip": "String",
        "n": "String",
        "late": "Float64",
    }


def test_a_cell_with_a_nul_is_kept_as_it_came(call: Call, worker: InProcessWorker, tmp_path: Path) -> None:
    """Also where a check quotes it."""
    rows = weather(1).with_columns(note=pl.lit("a\0b"))
    (tmp_path / "files").mkdir()
    rows.write_parquet(tmp_path / "files" / "1.parquet")
    check = CheckSpec("is_in", "note", {"values": ["dry"]}, "warn")
    spec = weather_spec(source=SourceSpec("parquet", str(tmp_path / "files")), checks=[check])
    call("data.declare", spec=spec)
    call("data.start_import", dataset="weather")
    (job,) = worker.run_all()
    assert (job.state, job.error) == ("done", None)
    version = call("data.get_version", dataset="weather")
    assert version.checks[0].samples[0]["note"] == "a\\x00b"
    assert set(rows_of(version, worker.blobs)["note"]) == {"a\0b"}


def test_a_column_that_no_database_names_is_told(call: Call, worker: InProcessWorker, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    weather(1).with_columns(pl.lit(1).alias("a\0b")).write_parquet(tmp_path / "files" / "1.parquet")
    call("data.declare", spec=weather_spec(source=SourceSpec("parquet", str(tmp_path / "files"))))
    call("data.start_import", dataset="weather")
    (job,) = worker.run_all()
    assert job.error["message"] == "the column a\\x00b cannot be named so"
