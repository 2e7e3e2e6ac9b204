"""``import`` says what came of the rows; what it may not be asked is refused before anything is sent."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from loopwright.cli.importing import tell_import
from loopwright.cli.main import cli
from loopwright.data import DatasetSpec, Dialect, ImportResult, SourceSpec
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput
from tests.cli.conftest import loopwright
from tests.server.site import serve


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (ImportResult("ready", 2, 3, 1), "d version 2 is ready: 3 added, 1 there already"),
        (ImportResult("ready", 3, 0, 0, "", 2), "d version 3 is ready: 2 changed"),
        (ImportResult("ready", 4, -1), "d version 4 is ready: 1 taken away"),
        (
            ImportResult("unchanged", 4, 0, 5, "dataset d has this content already"),
            "dataset d has this content already",
        ),
        (ImportResult("quarantined", 5, 1), "d version 5 is quarantined: 1 added"),
    ],
)
def test_what_came_of_an_import_is_a_line(result: ImportResult, told: str) -> None:
    assert tell_import("d", result) == told


def test_rows_of_a_file_are_sent_and_those_of_the_source_are_read_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for site in serve(tmp_path, is_open=True):
        monkeypatch.setenv("LOOPWRIGHT_URL", site.url)
        spec = DatasetSpec("d", SourceSpec("csv", str(tmp_path / "rows"), dialect=Dialect(separator=";")), ["id"], None)
        assert site.call("data.declare", spec=to_builtins(spec)).status_code == 200
        (tmp_path / "new.csv").write_text("id;x\n1;2\n")
        assert "queued" in loopwright("import", "d", "--as", "replace", "--detach", "-p", "flights")
        told = ["import", "d", str(tmp_path / "new.csv"), "--as", "upsert", "--reason", "late", "--detach", "--json"]
        sent = json.loads(loopwright(*told, "-p", "flights"))["args"]
        read = site.call("jobs.list", kind="data.import").json()[-1]["args"]
        assert (read["operation"], read["blobs"]) == ("replace", None)
        assert (sent["operation"], sent["reason"]) == ("upsert", "late")
        [blob] = sent["blobs"]
        assert pl.read_parquet(site.context.blobs.path(blob["digest"])).to_dicts() == [{"id": 1, "x": 2}]
        with pytest.raises(InvalidInput, match="nothing says which rows to delete"):
            CliRunner().invoke(cli, ["import", "d", "--as", "delete", "-p", "flights"], catch_exceptions=False)
