"""Files as people have them, through the whole platform: declared, imported by a worker, appended by the SDK."""

from pathlib import Path

import polars as pl
import pytest

import loopwright as lw
from loopwright.client.remote import Remote
from loopwright.data import DatasetVersion, read
from loopwright.kernel.errors import InvalidInput
from loopwright.server.supervisor import Supervisor
from loopwright.store.blobs import open_blob_store

pytestmark = pytest.mark.slow

JANUARY = "Nr;PLZ;Betrag;Am\n1;02116;1.234,50;03.01.2024 10:30\n2;10115;7,00;25.01.2024 11:00\n"
FEBRUARY = "Nr;PLZ;Betrag;Am\n3;80331;12,00;01.02.2024 09:00\n4;20095;k.A.;02.02.2024 09:15\n"


def rows_of(p: Remote, platform: Supervisor) -> tuple[DatasetVersion, pl.DataFrame]:
    version = p.call("data.get_version", dataset="orders")
    return version, read.scan(version, open_blob_store(platform.settings.blobs_url)).collect().sort("Nr")


def test_files_of_another_dialect_are_imported_and_appended_alike(platform: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "january.csv").write_bytes(JANUARY.encode("cp1252"))
    project = lw.Project("shop")
    source = lw.source.csv(
        tmp_path / "*.csv",
        zone="Europe/Berlin",
        separator=";",
        decimal=",",
        thousands=".",
        moments="%d.%m.%Y %H:%M",
        missing=["k.A."],
    )
    project.dataset("orders", source, key="Nr", time="Am")
    project.apply()
    p = lw.connect(platform.server_url, project="shop")
    for job in p.call("jobs.list"):
        p.job(job.job_id).wait()
    version, rows = rows_of(p, platform)
    assert rows["PLZ"].to_list() == ["02116", "10115"]
    assert rows["Betrag"].to_list() == [1234.5, 7.0]
    assert rows["Am"].dt.strftime("%H:%M").to_list() == ["09:30", "10:00"]
    assert {column.name: column.dtype for column in version.raw}["Am"] == "Datetime(us)"

    (tmp_path / "february.csv").write_bytes(FEBRUARY.encode("cp1252"))
    p.dataset("orders").append(tmp_path / "february.csv").wait()
    _, rows = rows_of(p, platform)
    assert rows["PLZ"].to_list() == ["02116", "10115", "80331", "20095"], "digits alone are codes here all the same"
    assert rows["Betrag"].to_list() == [1234.5, 7.0, 12.0, None]

    (tmp_path / "march.csv").write_text(FEBRUARY.replace("12,00", "twelve"))
    with pytest.raises(
        InvalidInput, match=r"march.csv, line 2, column Betrag: 'twelve' is no Float64, as it was before"
    ):
        p.dataset("orders").append(tmp_path / "march.csv")
