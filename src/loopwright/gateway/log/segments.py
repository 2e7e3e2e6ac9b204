"""Segments: the append-only files of one stream. What a crash cut off is no row; what is damaged stays for a person.

A stream is a folder ``<project>/<kind>/<stream>`` of segments ``000000000001.log``. A segment is a run of records
``u32 length | u32 crc32 | msgpack``; a record is ``[layout_id, layout]`` or ``[layout_id, rows, [column, ...]]``. One
that cannot be read or sealed as it is stays as ``000000000001.bad``.
"""

import errno
import logging
import os
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loopwright.gateway.log.batches import Batch, Layout
from loopwright.gateway.log.renewing import ENDING, renew, write_whole
from loopwright.kernel.errors import StorageFull, Unavailable
from loopwright.store.blobs.local import sync_folder
from loopwright.store.unwritable import HOW_TO_FREE

log = logging.getLogger("loopwright.gateway")
HEAD = struct.Struct("<II")
_LARGEST_RECORD = 1 << 30
_LEVELS = 4
"""Folders above a stream's own that may be new with it: kind, project, spool, and the gateway's."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FILES = {errno.EMFILE, errno.ENFILE}
MOST_CELLS = 50_000_000
"""Rows times columns of a segment: all its rows become one frame, in which each has the columns of every other."""
_PASSING = {*_FULL, *_NO_FILES, errno.ENOMEM, errno.EAGAIN, errno.EINTR}
"""What keeps a process from reading a file that is sound: it lacks room, memory or handles."""
_SEGMENT = re.compile(r"[0-9]{12}\.log")
_ASIDE = re.compile(r"[0-9]{12}(\.[0-9]+)?\.(bad|salvaged)")
_RECORD_BEGINS = re.compile(rb"[\x92\x93]")
"""A record's body is an array of two (a layout) or three (a batch); a byte that says so follows its head."""
_encoder = msgspec.msgpack.Encoder()


def frame(payload: Any) -> bytes:
    """Return one record: length, checksum and MessagePack."""
    body = _encoder.encode(payload)
    return HEAD.pack(len(body), zlib.crc32(body)) + body


def read_records(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (offset after the record, payload) of every whole record from the start; stop at the first torn one."""
    with path.open("rb") as file:
        end = 0
        while len(head := file.read(HEAD.size)) == HEAD.size:
            length, checksum = HEAD.unpack(head)
            body = file.read(length) if length <= _LARGEST_RECORD else b""
            payload = _payload(body) if length and len(body) == length and zlib.crc32(body) == checksum else None
            if payload is None:
                return
            end += HEAD.size + length
            yield end, payload


def records_within(body: bytes, begin: int) -> Iterator[tuple[int, int, Any]]:
    """Yield (start, end, payload) of every whole record behind ``begin``, however much lies between them."""
    while (first := _RECORD_BEGINS.search(body, begin + HEAD.size)) is not None:
        start = first.start() - HEAD.size
        length, checksum = HEAD.unpack_from(body, start)
        end = first.start() + length
        is_whole = end <= len(body) and zlib.crc32(memoryview(body)[first.start() : end]) == checksum
        payload = _payload(body[first.start() : end]) if is_whole else None
        if payload is not None:
            yield start, end, payload
        begin = start + 1 if payload is None else end


def _payload(body: bytes) -> Any:
    """Return what a record holds; None where nobody can read it: its columns may be what user code wrote."""
    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


class Segment(NamedTuple):
    """What is in a segment: its batches in the order they were written, and how many bytes after them are damaged.

    A write that was cut off at the end was answered to nobody and is no damage.
    """

    batches: list[Batch]
    damaged_bytes: int


def read_segment(path: Path) -> Segment:
    """Return what a segment holds up to its first damaged record."""
    layouts: dict[int, Layout] = {}
    batches: list[Batch] = []
    whole = 0
    for end, payload in read_records(path):
        whole = end
        if len(payload) == 2:
            layouts[payload[0]] = msgspec.convert(payload[1], Layout)
        else:
            batches.append(Batch(layouts[payload[0]], payload[1], payload[2]))
    rest = _bytes_from(path, whole)
    return Segment(batches, 0 if _is_torn(rest) else len(rest))


def _bytes_from(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


def cut_torn_tail(path: Path) -> None:
    """Truncate a segment after its last whole record; where more than one write was cut off, a copy is kept."""
    end = max((end for end, _ in read_records(path)), default=0)
    rest = _bytes_from(path, end)
    if not rest:
        return
    if _is_torn(rest):
        log.warning("cut %s unanswered bytes off %s", len(rest), path)
    else:
        kept = _aside(path)
        shutil.copyfile(path, kept)
        log.error("%s is damaged after byte %s: what follows is not served on and stays in %s", path, end, kept)
    os.truncate(path, end)


def _is_torn(rest: bytes) -> bool:
    """Say whether bytes are a write that a crash cut off: the beginning of one record, or space never written to.

    Where a whole record lies in them, it is the length that is damaged, and what follows was answered.
    """
    if len(rest) < HEAD.size or not rest.strip(b"\0"):
        return True
    length: int = HEAD.unpack_from(rest)[0]
    is_begun = len(rest) < HEAD.size + length and length <= _LARGEST_RECORD
    return is_begun and next(records_within(rest, 0), None) is None


def _aside(path: Path) -> Path:
    """Return the name under which a segment is kept for a person."""
    names = (path.with_suffix(".bad" if number == 1 else f".{number}.bad") for number in count(1))
    return next(name for name in names if not name.exists())


def segment_numbers(folder: Path) -> list[int]:
    """Return the numbers of the segments in a stream's folder, in no order; what else lies there does not count."""
    return [int(path.stem) for path in folder.glob("*.log") if is_segment(path)]


def is_segment(path: Path) -> bool:
    """Say whether a file is a segment, by its name."""
    return _SEGMENT.fullmatch(path.name) is not None and path.is_file()


class Stream:
    """The segments of one stream; appends go to the newest.

    Args:
        folder: Where the segments are. The newest file is never deleted, so numbers are never used twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        # Segments that the disk has not confirmed, with their handles; those of another life are opened to be flushed.
        self._unconfirmed: dict[int, int | None] = dict.fromkeys(segment_numbers(folder))
        self._refused: set[int] = set()
        self._is_torn = False
        self._unflushed = [folder, *folder.parents[:_LEVELS]]
        for unfinished in folder.glob(f"*{ENDING}"):
            with suppress(OSError):  # the next that is made takes its place
                unfinished.unlink()
        newest = max(self._unconfirmed, default=0)
        if newest:
            self._recover(newest)
        is_empty = newest > 0 and self.path(newest).exists() and self.path(newest).stat().st_size == 0
        if is_empty:
            self._unconfirmed.pop(newest)  # it is the open one again, whose file must not be replaced
        self._open(newest if is_empty else newest + 1)
        if newest:
            with suppress(OSError):  # the next flush asks again
                self.flush()

    def path(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.folder / f"{number:012d}.log"

    def _recover(self, number: int) -> None:
        """Cut what a crash left unfinished off a segment; one that cannot be read must not keep the others waiting."""
        try:
            cut_torn_tail(self.path(number))
        except OSError as error:
            if error.errno not in _PASSING:  # else whoever seals it cuts off what is damaged
                log.error("%s cannot be read and stays in %s: %s", self.path(number), self.put_aside(number), error)

    def _open(self, number: int) -> None:
        handle = os.open(self.path(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.number, self.handle, self.size, self.rows = number, handle, os.fstat(handle).st_size, 0
        self._layouts: dict[Layout, int] = {}
        self._names: set[str] = set()

    def append(self, batches: Sequence[Batch]) -> int:
        """Write batches with one ``write()``, all or nothing; return the bytes.

        Raises:
            StorageFull: The disk takes no more; nothing of it stays.
            Unavailable: The disk cannot be written.
        """
        with self.lock:
            self._mend()
            self._make_room(batches)
            parts: list[bytes] = []
            fresh: list[Layout] = []
            for batch in batches:
                layout_id = self._layouts.get(batch.layout)
                if layout_id is None:
                    layout_id = self._layouts[batch.layout] = len(self._layouts)
                    fresh.append(batch.layout)
                    parts.append(frame([layout_id, batch.layout]))
                parts.append(frame([layout_id, batch.rows, batch.columns]))
            body = b"".join(parts)
            try:
                write_whole(self.handle, body)
            except OSError as error:
                for layout in fresh:
                    del self._layouts[layout]
                self._is_torn = True
                with suppress(StorageFull, Unavailable):  # the next append begins with it
                    self._mend()
                raise translate(error, self.folder) from None
            self.size += len(body)
            self.rows += sum(batch.rows for batch in batches)
            for layout in fresh:
                self._names.update(layout.names)
            return len(body)

    def _make_room(self, batches: Sequence[Batch]) -> None:
        """Begin the next segment where the rows of this one, and these, would be too large a frame.

        Raises:
            StorageFull: There is no room for another file.
            Unavailable: The disk cannot be written.
        """
        fresh = [batch.layout.names for batch in batches if batch.layout not in self._layouts]
        names = self._names.union(*fresh) if fresh else self._names
        if self.rows and len(names) * (self.rows + sum(batch.rows for batch in batches)) > MOST_CELLS:
            try:
                self._begin_next()
            except OSError as error:
                raise translate(error, self.folder) from None

    def _mend(self) -> None:
        """Cut off what was written in part; where the disk will not, nothing may follow it in this segment.

        Raises:
            StorageFull: Neither can be done: the disk takes no more.
            Unavailable: Nor can it: the disk cannot be written, as one that has become read-only.
        """
        if not self._is_torn:
            return
        try:
            os.ftruncate(self.handle, self.size)
        except OSError as why:
            begun = self.path(self.number)
            try:
                self._begin_next()
            except OSError as error:
                raise translate(error, self.folder) from None
            log.error("what was written in part stays at the end of %s: %s", begun, why)
        self._is_torn = False

    def roll(self) -> None:
        """Start the next segment if this one holds anything; ``flush`` closes the file before it."""
        with self.lock:
            if self.size:
                self._begin_next()

    def _begin_next(self) -> None:
        old, number = self.handle, self.number
        self._open(number + 1)  # or the disk is full, and this one goes on
        self._unconfirmed[number] = old
        self._unflushed.append(self.folder)

    def flush(self) -> None:
        """Return once what was appended is on the disk, and so are the entries of the folders that lead there.

        What the disk did not confirm is asked for again the next time, also of a segment that is closed by then.
        """
        self.flush_closed()
        with self.lock:  # an append may begin a segment at any time
            if self.number in self._refused:
                self._begin_next()
            number, handle = self.number, self.handle
        self._flush_one(number, handle)
        self.flush_closed()  # one that an append closed meanwhile
        self.flush_entries()

    def flush_closed(self) -> None:
        """Flush closed segments that the disk has not confirmed; nobody else does that for those of another life."""
        while self._unconfirmed:
            number = min(self._unconfirmed)
            handle = self._unconfirmed[number]
            if handle is None:
                try:
                    handle = self._unconfirmed[number] = os.open(self.path(number), os.O_WRONLY)
                except FileNotFoundError:  # it was put aside
                    del self._unconfirmed[number]
                    continue
            lost = None
            if number in self._refused:
                lost = self._renew(number)
            else:
                self._flush_one(number, handle)
            os.close(handle)
            del self._unconfirmed[number]
            if lost is not None:
                raise lost

    def _flush_one(self, number: int, handle: int) -> None:
        try:
            os.fdatasync(handle)
        except OSError:
            self._refused.add(number)
            raise

    def _renew(self, number: int) -> OSError | None:
        """Write a segment again that the disk refused to flush; return why it cannot be read, so that a person must."""
        path = self.path(number)
        try:
            body = path.read_bytes()
        except OSError as error:
            if error.errno in _PASSING:
                raise
            log.error("the disk did not take all of %s, which stays in %s: %s", path, self.put_aside(number), error)
            return error
        renew(path, body)
        log.warning("the disk did not confirm %s, so it was written again", path)
        self._refused.discard(number)
        return None

    def flush_entries(self) -> None:
        """Flush what is new in folders: rows on the disk in a file that has no name after a power cut are lost."""
        while self._unflushed:
            sync_folder(self._unflushed[-1])
            self._unflushed.pop()

    def close(self) -> None:
        """Let go of the files."""
        for handle in (*self._unconfirmed.values(), self.handle):
            if handle is not None:
                os.close(handle)

    def closed(self) -> list[int]:
        """Return the numbers of the segments that may be sealed, oldest first: they take no more rows and are flushed.

        One that is not may come back from a power cut with fewer rows than were registered under its number.
        """
        with self.lock:  # an append may begin a segment at any time
            newest, unconfirmed = self.number, set(self._unconfirmed)
        return sorted(
            number for number in segment_numbers(self.folder) if number < newest and number not in unconfirmed
        )

    def put_aside(self, number: int) -> Path:
        """Keep a closed segment for a person instead of sealing it; return its new name."""
        path = self.path(number)
        return path.rename(_aside(path))


def is_own(path: Path) -> bool:
    """Say whether what lies in a stream's folder is a segment, one to be, or one that is kept for a person."""
    return is_segment(path) or path.suffix == ENDING or _ASIDE.fullmatch(path.name) is not None


def translate(error: OSError, place: Path) -> Exception:
    """Return an error of the disk in our own words."""
    if error.errno in _FULL:
        return StorageFull(
            "the disk is full; nothing was written", value=str(place), next_step=f"{HOW_TO_FREE}, then send it again"
        )
    next_step = "check owner and permissions of the state folder"
    if error.errno in _NO_FILES:
        next_step = "raise the gateway's limit of open files (ulimit -n): each connection and stream is one"
    return Unavailable(f"the spool cannot be written: {error.strerror}", value=str(place), next_step=next_step)
