"""Packed code: the same files give the same bytes, nothing ignored gets in, nothing hostile gets out."""

import importlib
import io
import stat
import zipfile
from pathlib import Path

import pytest

from loopwright.kernel.errors import Corrupt, InvalidInput, TooLarge
from loopwright.pipelines import packing
from loopwright.pipelines.functions import function_digest


def names(packed: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(packed)).namelist()


def test_only_the_project_is_packed_and_always_alike(tmp_path: Path) -> None:
    for name in (
        *("flights.py", "lib/__init__.py", "lib/delays.py", "queries/late.sql", "lib/kept.log"),
        *(
            ".env",
            ".git/config",
            ".loopwright/db",
            "__pycache__/a.pyc",
            "notes.log",
            "out/model.txt",
            "lib/deep/out/x.py",
        ),
        *("env/pyvenv.cfg", "env/lib/x.py", "docs/build/page.html"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "flights.parquet").write_bytes(bytes(2_000))
    (tmp_path / "customers.csv").write_text("name,birthday\n")
    (tmp_path / "link.py").symlink_to("/etc/hostname")
    (tmp_path / ".gitignore").write_text("# a comment\n*.log\n!kept.log\nout/\n/docs/build\n")
    packed = packing.pack_project(tmp_path)
    assert names(packed) == ["flights.py", "lib/__init__.py", "lib/delays.py"]
    for path in tmp_path.rglob("*.py"):
        path.touch()
    assert packing.pack_project(tmp_path) == packed
    declared = packing.pack_project(tmp_path, declared=["queries/*.sql", "kept.log", ".env", "notes.log", "page.html"])
    assert names(declared) == ["flights.py", "lib/__init__.py", "lib/delays.py", "lib/kept.log", "queries/late.sql"]


def test_a_declared_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert list(packing.declared_files(tmp_path, ["config.json"])) == ["config.json"]
    with pytest.raises(InvalidInput, match="no file of the project") as told:
        packing.declared_files(tmp_path, ["config.json", "confg.json"])
    assert told.value.value == "confg.json"


def test_a_change_of_a_declared_file_is_a_change_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "fit_by_config.py").write_text("def fit():\n    return open('config.json').read()\n")
    config = tmp_path / "config.json"
    digests = []
    fit = importlib.import_module("fit_by_config").fit
    for rate in (1, 2):
        config.write_text(f'{{"rate": {rate}}}')
        files = packing.declared_files(tmp_path, ["config.json"])
        digests.append(packing.code_ref(fit, tmp_path, "c" * 64, files).function_digest)
    assert digests[0] != digests[1]
    assert packing.code_ref(fit, tmp_path, "c" * 64).function_digest == function_digest(fit, tmp_path)


def test_a_project_that_is_too_large_names_the_largest_files(tmp_path: Path) -> None:
    for number in range(22):
        (tmp_path / f"part{number}.csv").write_bytes(bytes(1_000_000 - number))
    (tmp_path / "big.py").write_bytes(b"#" * 1_500_000)
    assert names(packing.pack_project(tmp_path)) == ["big.py"], "data does not count"
    with pytest.raises(TooLarge, match="takes 23 MB") as caught:
        packing.pack_project(tmp_path, declared=["*.csv"])
    assert "files=: big.py (1.5 MB), part0.csv (1.0 MB)" in str(caught.value.next_step)


def test_unpacking_gives_the_files_back_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "flights.py").write_text("x = 1\n")
    packed = packing.pack_project(tmp_path / "in")
    out = packing.unpack(packed, tmp_path / "code" / "digest")
    assert (out / "flights.py").read_text() == "x = 1\n"
    assert packing.unpack(b"never read", out) == out
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["digest"]


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil.py", "a/../../evil.py", "a\\..\\evil.py", "C:evil.py"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("good.py", "x = 1")
        archive.writestr(zipfile.ZipInfo(name), "x = 1")
    with pytest.raises(Corrupt, match="holds what it must not"):
        packing.unpack(packed.getvalue(), tmp_path / "code" / "digest")
    assert list((tmp_path / "code").iterdir()) == []
    assert not list(tmp_path.rglob("evil.py"))


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["x" * 300], ["d/" * 2000 + "x"]])
def test_what_no_folder_can_hold_is_refused(tmp_path: Path, names: list[str]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "x = 1")
    with pytest.raises(Corrupt, match="holds what it must not"):
        packing.unpack(packed.getvalue(), tmp_path / "code")


@pytest.mark.parametrize(("at", "bit"), [(6, 1), (8, 99)], ids=["encrypted", "compressed in an unknown way"])
def test_what_cannot_be_expanded_is_refused(tmp_path: Path, at: int, bit: int) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", "x = 1\n" * 1000)
    body = bytearray(packed.getvalue())
    for start, shift in ((body.index(b"PK\3\4"), 0), (body.index(b"PK\1\2"), 2)):
        body[start + at + shift] = bit
    with pytest.raises(Corrupt, match="not a code archive"):
        packing.unpack(bytes(body), tmp_path / "code")


def test_damaged_code_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", "x = 1\n" * 1000)
    body = bytearray(packed.getvalue())
    body[35:45] = b"\xff" * 10
    with pytest.raises(Corrupt, match="not a code archive"):
        packing.unpack(bytes(body), tmp_path / "code")


def test_links_and_bombs_are_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("link.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(Corrupt, match="holds what it must not"):
        packing.unpack(packed.getvalue(), tmp_path / "link")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.py", bytes(packing.MOST_BYTES * 3))
    with pytest.raises(Corrupt, match="too large"):
        packing.unpack(packed.getvalue(), tmp_path / "bomb")
    with pytest.raises(Corrupt, match="not a code archive"):
        packing.unpack(b"PK nonsense", tmp_path / "none")
