"""``export-contract`` tells a dataset of a running server; ``import-contract`` reads files, whatever they are."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import loopwright as lw
from loopwright.cli.main import cli
from loopwright.data import DatasetSpec, SourceSpec
from loopwright.data.contracts import MOST_BYTES
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge
from tests.cli.conftest import loopwright
from tests.server.site import serve


def test_what_is_exported_is_imported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [lw.check.not_null("x", most_share=0.1), lw.check.usual("x")]
    spec = DatasetSpec("d", SourceSpec("frame"), ["id"], "at", checks=checks, personal=["email"])
    for site in serve(tmp_path, is_open=True):
        monkeypatch.setenv("LOOPWRIGHT_URL", site.url)
        assert site.call("data.declare", spec=to_builtins(spec)).status_code == 200
        printed = loopwright("export-contract", "d", "-p", "flights")
        assert "apiVersion: v3.1.0" in printed
        assert lw.connect(project="flights").dataset("d").contract() == printed
        out = tmp_path / "d.odcs.yaml"
        assert "has the contract of d" in loopwright("export-contract", "d", "--out", str(out), "-p", "flights")
        assert out.read_text("utf-8") == printed
        with pytest.raises(InvalidInput, match="cannot be written"):
            loopwright("export-contract", "d", "--out", str(tmp_path / "none" / "d.yaml"), "-p", "flights")
        with pytest.raises(LoopwrightError, match="nowhere"):
            loopwright("export-contract", "nowhere", "-p", "flights")
    lines = loopwright("import-contract", str(out)).splitlines()
    assert lines[:3] == ["d = p.dataset(", "    'd',", "    lw.source.frame(),  # say where its rows come from"]
    assert "        lw.check.not_null('x', most_share=0.1)," in lines
    assert "    personal=['email']," in lines
    [told] = json.loads(loopwright("import-contract", str(out), "--json"))
    assert (told["key"], told["time"], told["personal"], len(told["checks"])) == (["id"], "at", ["email"], 2)


def test_each_table_of_a_contract_is_a_dataset(tmp_path: Path) -> None:
    file = tmp_path / "two.json"
    file.write_text(json.dumps({"apiVersion": "v3.1.0", "schema": [{"name": "a"}, {"name": "b"}]}))
    lines = loopwright("import-contract", str(file)).splitlines()
    assert [line for line in lines if "= p.dataset(" in line or not line] == ["a = p.dataset(", "", "b = p.dataset("]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", InvalidInput),
        (b"a: [", InvalidInput),
        (b"PAR1\x00\xff", InvalidInput),
        (b"# " + b"x" * MOST_BYTES, TooLarge),
        (b"[" * 100_000, LoopwrightError),
        (b"import os\nschema = DataFrameSchema({})\n", InvalidInput),
    ],
)
def test_a_file_that_is_no_contract_is_refused(tmp_path: Path, body: bytes, error: type[LoopwrightError]) -> None:
    file = tmp_path / "file"
    file.write_bytes(body)
    with pytest.raises(error):
        CliRunner().invoke(cli, ["import-contract", str(file)], catch_exceptions=False)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    answer = CliRunner().invoke(cli, ["import-contract", str(tmp_path / "none.yaml")])
    assert (answer.exit_code, "does not exist" in answer.output) == (2, True)
