"""Plain text in UTF-8, from files that are packed, or written in another encoding."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from loopwright.data.sources.base import Asked, SourceFile, refused
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput, TooLarge
from loopwright.wire.sizes import MOST_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEAD_BYTES = 65_536
_BLOCK_BYTES = 1 << 20
_MOST_MEMBERS = 1000
"""Of an archive: each costs some ten milliseconds, and hardly a byte."""
_LINE_BYTES = 32 << 20
"""What a line may take: readers hold it whole, and several times."""
_ZIP = b"PK\x03\x04"
_PACKED: dict[bytes, Callable[[Path], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}
_DAMAGED = (EOFError, lzma.LZMAError, zlib.error, zstd.ZstdError, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError)
"""What unpacking raises over files that are cut, changed or encrypted."""
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_8 = {"", "utf-8", "utf8", "utf-8-sig", "utf_8", "ascii"}
_MARKS = (";", "\t", "|")


class PlainText(NamedTuple):
    """A file with plain text: what it is called, where it can be read, and what stands between its fields."""

    name: str
    path: Path
    separator: str


class _Room:
    """How many bytes may still be unpacked, of all files of a source together."""

    def __init__(self) -> None:
        self._left = MOST_BYTES

    def take(self, size: int, shown: SourceFile) -> None:
        """Note what was written.

        Raises:
            TooLarge: It is more than fits.
        """
        self._left -= size
        if self._left < 0:
            raise TooLarge(
                f"{shown.name} is too large once it is unpacked",
                field="source",
                value=str(shown.shown),
                rule=f"all files of a source together at most {MOST_BYTES} bytes, half of the memory",
                next_step="import them in parts",
            )


def plain_texts(files: Sequence[SourceFile], asked: Asked) -> list[PlainText]:
    """Return files as plain text; archives by their members.

    Raises:
        InvalidInput: A file is of another kind, no text in its encoding, or separated by something else than declared.
        TooLarge: They would be too large once they are unpacked.
    """
    room, found = _Room(), list[PlainText]()
    for number, file in enumerate(files):
        place = asked.scratch / f"{number}"
        with _refusing(file):
            members = _members(file, place, room) if _begins(file.path, _ZIP) else [file]
            for at, member in enumerate(members):
                found.append(_plain(member, Path(f"{place}-{at}"), asked.spec.dialect, file, room))
    return found


def unpacked_lines(files: Sequence[SourceFile], scratch: Path) -> list[SourceFile]:
    """Return files of lines as they were before each was packed by itself.

    Raises:
        InvalidInput: One is damaged, or has a line without an end.
        TooLarge: They would be too large once they are unpacked.
    """
    room, found = _Room(), list[SourceFile]()
    for at, file in enumerate(files):
        with _refusing(file):
            path = _unpacked(file.path, scratch / f"{at}.unpacked", file, room)
            _refuse_endless(path, file)
        found.append(SourceFile(file.shown, path))
    return found


def _plain(file: SourceFile, place: Path, dialect: Dialect, shown: SourceFile, room: _Room) -> PlainText:
    path = _unpacked(file.path, place.with_suffix(".unpacked"), shown, room)
    encoding, head = dialect.encoding.lower(), _head(path)
    if head.startswith(_UTF_16):
        encoding = "utf-16"
    is_old_mac = b"\r" in head and b"\n" not in head
    if encoding not in _UTF_8 or is_old_mac:
        anew = place.with_suffix(".utf-8")
        _write_anew(path, anew, encoding or "utf-8", shown, room)
        path, head = anew, _head(anew)
    _refuse_endless(path, shown)
    separator = _separator(head, file.name, dialect)
    _check_kind(head, shown, separator, dialect)
    return PlainText(file.name, path, separator)


@contextmanager
def _refusing(file: SourceFile) -> Iterator[None]:
    try:
        yield
    except _DAMAGED:
        raise refused(
            file,
            f"is {_packing(file)} that is damaged or encrypted: it cannot be unpacked",
            "a whole file",
            "copy it anew",
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise refused(file, "is damaged: it cannot be unpacked", "a whole file", "copy it anew") from None


def _packing(file: SourceFile) -> str:
    return "a zip archive" if _begins(file.path, _ZIP) else "a packed file"


def _begins(file: Path, mark: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(mark)) == mark


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_HEAD_BYTES)


def _unpacked(file: Path, place: Path, shown: SourceFile, room: _Room) -> Path:
    """Return where the bytes of a file stand as they were before it was packed by itself."""
    opening = next((opening for mark, opening in _PACKED.items() if _begins(file, mark)), None)
    if opening is None:
        return file
    with cast("IO[bytes]", opening(file)) as packed:
        _copy(packed, place, shown, room)
    return place


def _members(file: SourceFile, place: Path, room: _Room) -> list[SourceFile]:
    """Unpack the members of a zip archive that are files."""
    try:
        with zipfile.ZipFile(file.path) as archive:
            listed = [one for one in archive.infolist() if one.filename and not one.is_dir()]
            listed = [one for one in listed if not _is_hidden(one.filename)]
            listed.sort(key=lambda one: one.filename)
            if len(listed) > _MOST_MEMBERS:
                raise _too_many(file, len(listed))
            members = [_unpack(archive, one, Path(f"{place}-{at}"), file, room) for at, one in enumerate(listed)]
    except (UnicodeDecodeError, IndexError, NotImplementedError):
        raise refused(file, "cannot be unpacked", "a zip archive of CSV files, not encrypted", "unpack it") from None
    if not members:
        raise refused(file, "holds no file", "a zip archive of CSV files", "look into it: unzip -l") from None
    return members


def _too_many(file: SourceFile, count: int) -> TooLarge:
    return TooLarge(
        f"{file.name} holds {count} files",
        field="source",
        value=str(file.shown),
        rule=f"an archive of at most {_MOST_MEMBERS} files",
        next_step="join them, or unpack it into a folder",
    )


def _is_hidden(name: str) -> bool:
    parts = Path(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") and part not in (".", "..") for part in parts)


def _unpack(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, shown: SourceFile, room: _Room
) -> SourceFile:
    """Unpack a member where its own name, which may be anything, is no part of a path."""
    with archive.open(member) as packed:
        _copy(packed, place, shown, room)
    return SourceFile(Path(Path(member.filename).name or "member"), place)


def _copy(packed: IO[bytes], place: Path, shown: SourceFile, room: _Room) -> None:
    with place.open("wb") as out:
        while block := packed.read(_BLOCK_BYTES):
            room.take(len(block), shown)
            out.write(block)


def _write_anew(file: Path, place: Path, encoding: str, shown: SourceFile, room: _Room) -> None:
    """Write a file as UTF-8; line ends stay, but those of old machines alone become others."""
    is_old_mac = encoding == "utf-8"
    with file.open("rb") as given, place.open("wb") as out:
        lines = io.TextIOWrapper(given, encoding=encoding, newline=None if is_old_mac else "")
        is_first = True
        try:
            while block := lines.read(_BLOCK_BYTES):
                body = (block.removeprefix("\ufeff") if is_first else block).encode()
                room.take(len(body), shown)
                out.write(body)
                is_first = False
        except UnicodeError:
            line = _undecodable(file, encoding)
            what = f"is no {encoding}{f': line {line}' if line else ''}"
            rule = f"text in {encoding} throughout, as its source says"
            raise refused(shown, what, rule, "correct encoding= of the source") from None


def _refuse_endless(path: Path, shown: SourceFile) -> None:
    """Refuse a file with a line that is too long: of each stretch of such a length only the first line is looked at."""
    with path.open("rb") as opened:
        size = opened.seek(0, io.SEEK_END)
        for begin in range(0, size - _LINE_BYTES + 1, _LINE_BYTES):
            opened.seek(begin)
            left = _LINE_BYTES
            while left > 0 and b"\n" not in (block := opened.read(min(left, _HEAD_BYTES))):
                left -= len(block) or left
            if left <= 0:
                rule = f"a line takes at most {_LINE_BYTES >> 20} MB"
                raise refused(shown, "has a line without an end", rule, "correct the file: what ends its lines?")


def _undecodable(file: Path, encoding: str) -> int:
    """Return the first line that is no text in an encoding of bytes, from 1; 0 where lines cannot be told."""
    try:
        if "\n".encode(encoding) != b"\n":
            return 0
    except UnicodeError:  # an encoding of nothing, such as "undefined"
        return 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return number
    return 0


def check_text(file: PlainText) -> None:
    """Refuse a file that is no UTF-8, naming the first line that is not: readers say so of all files together.

    Raises:
        InvalidInput: It is none.
    """
    line = _undecodable(file.path, "utf-8")
    if line:
        raise InvalidInput(
            f"{file.name} is no UTF-8: line {line}",
            field="source",
            value=file.name,
            rule="UTF-8, with or without a byte order mark, where no encoding is declared",
            next_step='say which it is, such as source.csv(..., encoding="cp1252")',
        )


def _header(head: bytes, dialect: Dialect) -> bytes:
    """Return the line that names the columns, or the first one of values."""
    lines = head.split(b"\n")[dialect.skip :]
    comment = dialect.comment.encode()
    return next((line for line in lines if line.strip() and not (comment and line.startswith(comment))), b"")


def _separator(head: bytes, name: str, dialect: Dialect) -> str:
    is_tabbed = ".tsv" in name and dialect.separator == "," and b"\t" in _header(head, dialect)
    return "\t" if is_tabbed else dialect.separator


def _check_kind(head: bytes, file: SourceFile, separator: str, dialect: Dialect) -> None:
    """Refuse a file that would be read as one column without a meaning, by how it begins."""
    if head.startswith(b"PAR1"):
        raise refused(file, "is Parquet", "CSV is plain text", "declare it as such: source.parquet(...)")
    if b"\0" in head:
        raise refused(file, "is no text", "CSV is plain text", "declare its encoding, or what it is")
    if not head:
        raise refused(file, "is empty", "a header line, or rows", "take the file away, or write its header line")
    header = _header(head, dialect)
    if said := re.fullmatch(rb"(?:\xef\xbb\xbf)?\"?sep=(.)\"?\s*", header):  # spreadsheets write and read it
        skip = f"say so: source.csv(..., separator={said[1].decode('latin-1')!r}, skip={dialect.skip + 1})"
        raise refused(file, "begins with a line that names its separator", "the first line names columns", skip)
    mark = next((mark for mark in (*_MARKS, ",") if mark != separator and mark.encode() in header), "")
    if mark and separator.encode() not in header and len(dialect.columns) != 1:
        hint = f"say so: source.csv(..., separator={mark!r})"
        raise refused(file, f"seems to be separated by {mark!r}", f"separated by {separator!r}, as declared", hint)
