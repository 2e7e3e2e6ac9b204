"""Files that are packed: never more on the disk, or in memory, than fits, however little they take packed."""

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.data import Dialect
from loopwright.data.sources import SourceFile, plain
from loopwright.data.sources.plain import zstd
from loopwright.kernel.errors import InvalidInput, TooLarge
from tests.data.sources.conftest import Read

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("body", [b"a,1\n" * 3_000_000, b"a" * 12_000_000], ids=["lines", "one line"])
def test_what_unpacks_to_more_than_fits_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str, body: bytes
) -> None:
    monkeypatch.setattr(plain, "MOST_BYTES", 4_000_000)
    packed = tmp_path / f"bomb.csv.{packing}"
    packed.write_bytes(PACKINGS[packing](body))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(TooLarge, match="too large once it is unpacked"):
        plain.unpacked_lines([SourceFile(packed, packed)], scratch)
    assert sum(file.stat().st_size for file in scratch.iterdir()) <= 4_000_000


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("packing", [None, "zst"])
def test_a_line_without_an_end_is_refused(
    read: Read, monkeypatch: pytest.MonkeyPatch, kind: str, packing: str | None
) -> None:
    monkeypatch.setattr(plain, "_LINE_BYTES", 100_000)
    line = b'{"a": 1}\n' if kind == "jsonl" else b"a\n1\n"
    pack = PACKINGS.get(packing or "", bytes)
    with pytest.raises(InvalidInput, match="has a line without an end") as refused:
        read(kind, {f"a.{kind}": pack(line * 20_000 + b"x" * 250_000 + line)})
    assert "at most 0 MB" in str(refused.value)
    assert read(kind, {f"a.{kind}": pack(line * 20_000)})["a"].dtype.is_integer() is (kind == "jsonl")


@pytest.mark.parametrize("packing", PACKINGS)
def test_json_lines_may_be_packed(read: Read, packing: str) -> None:
    assert read("jsonl", {"a.jsonl": PACKINGS[packing](b'{"a": 1}\n{"a": 2}\n')})["a"].to_list() == [1, 2]
    with pytest.raises(InvalidInput, match="damaged"):
        read("jsonl", {"a.jsonl": PACKINGS[packing](b'{"a": 1}\n' * 1000)[:-6]})


def test_unpacking_takes_little_memory(tmp_path: Path) -> None:
    """One line of 300 MB, which takes some 30 kB packed."""
    packed = tmp_path / "line.csv.zst"
    with zstd.open(packed, "wb") as out:
        for _ in range(300):
            out.write(b"a" * 1_000_000)
    code = f"""
import resource
from pathlib import Path
from loopwright.data import Dialect
from loopwright.data.sources import SourceFile, plain
from loopwright.kernel.errors import InvalidInput
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    plain.unpacked_lines([SourceFile(Path({str(packed)!r}), Path({str(packed)!r}))], Path({str(tmp_path)!r}))
except InvalidInput:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 64 * 1024, "kilobytes"


def test_an_archive_holds_so_many_files_at_most(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_MOST_MEMBERS", 20)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for number in range(20):
            archive.writestr(f"deep/same.csv{number}/../x.csv", f"a\n{number}\n")
    assert sorted(read("csv", {"a.csv.zip": body.getvalue()})["a"]) == list(range(20))
    with zipfile.ZipFile(body, "a") as archive:
        archive.writestr("one more.csv", "a\n1\n")
    with pytest.raises(TooLarge, match="holds 21 files"):
        read("csv", {"a.csv.zip": body.getvalue()})


def test_an_encoding_of_nothing_is_an_error_like_others(read: Read) -> None:
    with pytest.raises(InvalidInput, match="is no undefined"):
        read("csv", {"a.csv": b"a\n1\n"}, dialect=Dialect(encoding="undefined"))
