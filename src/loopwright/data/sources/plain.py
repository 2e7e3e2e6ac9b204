"""Plain text in UTF-8, from files that are packed, or written in another encoding."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple, cast

from loopwright.data.sources.base import Asked, refused
from loopwright.data.types import Dialect
from loopwright.kernel.errors import TooLarge
from loopwright.wire.sizes import MOST_BYTES

_HEAD_BYTES = 65_536
_BLOCK_BYTES = 1 << 20
_GZIP, _ZSTD, _ZIP, _BZIP, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"BZh", b"\xfd7zXZ"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_8 = {"", "utf-8", "utf8", "utf-8-sig", "ascii"}
_MARKS = (";", "\t", "|")


class PlainText(NamedTuple):
    """A file with plain text: what it is called, where it can be read, and what stands between its fields.

    ``path`` may still be packed by gzip or zstd, which the reader unpacks by itself.
    """

    name: str
    path: Path
    separator: str


def plain_texts(files: Sequence[Path], asked: Asked) -> list[PlainText]:
    """Return files as plain text; archives by their members.

    Raises:
        InvalidInput: A file is of another kind, no text in its encoding, or separated by something else than declared.
        TooLarge: It would be too large once it is unpacked.
    """
    found: list[PlainText] = []
    for number, file in enumerate(files):
        with file.open("rb") as opened:
            is_archive = opened.read(4) == _ZIP
        if is_archive:
            found += [_plain(member, asked, file) for member in _members(file, asked.scratch / str(number))]
        else:
            found.append(_plain(file, asked, file))
    return found


def _plain(file: Path, asked: Asked, shown: Path) -> PlainText:
    dialect = asked.spec.dialect
    head = _head(file, shown)
    encoding = dialect.encoding.lower()
    if head.startswith(_UTF_16):
        encoding = "utf-16"
    separator = "\t" if dialect.separator == "," and ".tsv" in file.name else dialect.separator
    path = file
    if encoding not in _UTF_8 or _is_packed(file) or (b"\r" in head and b"\n" not in head):
        path = asked.scratch / f"{len(list(asked.scratch.iterdir()))}-{file.name}.txt"
        _write_anew(file, path, encoding or "utf-8", shown)
    if encoding not in _UTF_8:
        head = _head(path, shown)
    _check_kind(head, shown, separator, dialect)
    return PlainText(file.name, path, separator)


def _is_packed(file: Path) -> bool:
    """Say whether it is packed in a way that the reader of CSV does not know."""
    with file.open("rb") as opened:
        head = opened.read(6)
    return head.startswith((_BZIP, _XZ))


def open_bytes(file: Path, shown: Path) -> IO[bytes]:
    """Open a file to read its bytes as they were before it was packed."""
    with file.open("rb") as opened:
        head = opened.read(6)
    if head.startswith(_GZIP):
        return cast("IO[bytes]", gzip.open(file))
    if head.startswith(_BZIP):
        return bz2.open(file)
    if head.startswith(_XZ):
        return lzma.open(file)
    if head.startswith(_ZSTD):
        rule = "text in UTF-8 where it is packed by zstd"
        raise refused(shown, "cannot be unpacked here", rule, f"unpack it: zstd -d {shown.name}")
    return file.open("rb")


def _head(file: Path, shown: Path) -> bytes:
    with file.open("rb") as opened:
        if opened.read(4) == _ZSTD:
            return b""
    try:
        with open_bytes(file, shown) as opened:
            return opened.read(_HEAD_BYTES)
    except (OSError, EOFError, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise refused(shown, "is damaged: it cannot be unpacked", "a whole file", "copy it anew") from None


def _members(file: Path, folder: Path) -> list[Path]:
    """Unpack the members of a zip archive that are files of text."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(file) as archive:
            listed = [one for one in archive.infolist() if not one.is_dir() and not _is_hidden(one.filename)]
            listed.sort(key=lambda one: one.filename)
            places = [_unpack(archive, member, folder / f"{at}", file) for at, member in enumerate(listed)]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        raise refused(file, "cannot be unpacked", "a zip archive of CSV files, not encrypted", "unpack it") from None
    if not places:
        raise refused(file, "holds no file", "a zip archive of CSV files", "look into it: unzip -l") from None
    return places


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, shown: Path) -> Path:
    folder.mkdir()
    place = folder / Path(member.filename).name  # no way out of the folder: the last part of a name is none
    with archive.open(member) as packed, place.open("wb") as out:
        _copy(packed, out, shown)
    return place


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__")) for part in Path(name).parts)


def _write_anew(file: Path, place: Path, encoding: str, shown: Path) -> None:
    """Write a file as UTF-8."""
    with open_bytes(file, shown) as packed, place.open("w", encoding="utf-8", newline="") as out:
        lines = io.TextIOWrapper(packed, encoding=encoding)  # lines that end as they did on old machines end anew
        number, size = 1, 0
        try:
            while block := lines.read(_BLOCK_BYTES):
                number += block.count("\n")
                size += len(block)
                _check_size(size, shown)
                out.write(block.removeprefix("\ufeff") if size == len(block) else block)
        except UnicodeError:
            rule = f"text in {encoding} throughout, as its source says"
            raise refused(
                shown, f"is no {encoding}: about line {number}", rule, "correct encoding= of the source"
            ) from None


def _copy(packed: IO[bytes], out: IO[bytes], shown: Path) -> None:
    size = 0
    while block := packed.read(_BLOCK_BYTES):
        size += len(block)
        _check_size(size, shown)
        out.write(block)


def _check_size(size: int, shown: Path) -> None:
    if size > MOST_BYTES:
        raise TooLarge(
            f"{shown.name} is too large once it is unpacked",
            field="source",
            value=str(shown),
            rule=f"at most {MOST_BYTES} bytes, half of the memory",
            next_step="part it into several files",
        )


def _check_kind(head: bytes, file: Path, separator: str, dialect: Dialect) -> None:
    """Refuse a file that would be read as one column without a meaning, by how it begins."""
    if head.startswith(b"PAR1"):
        raise refused(file, "is Parquet", "CSV is plain text", "declare it as such: source.parquet(...)")
    if b"\0" in head and not head.startswith(_UTF_16):
        raise refused(file, "is no text", "CSV is plain text", "declare its encoding, or what it is")
    header = head.split(b"\n")[dialect.skip] if head.count(b"\n") >= dialect.skip else head
    mark = next((mark for mark in (*_MARKS, ",") if mark != separator and mark.encode() in header), "")
    if mark and separator.encode() not in header and len(dialect.columns) != 1:
        hint = f"say so: source.csv(..., separator={mark!r})"
        raise refused(file, f"seems to be separated by {mark!r}", f"separated by {separator!r}, as declared", hint)
