"""Sealing: spool segments become Parquet chunks that the server knows of."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopwright.gateway.log.batches import Batch, StreamKey
from loopwright.gateway.log.segments import Segment, Stream, read_segment
from loopwright.gateway.log.spool import Spool
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, NotFound, TooBusy, Unavailable
from loopwright.store import chunks
from loopwright.store.blobs import BlobStore
from loopwright.store.streams import STREAMS
from loopwright.store.types import EVERY_STREAM, StoredChunk, Streams
from loopwright.wire.caller import VerbCaller

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("loopwright.gateway")
SEAL_EVERY_S = 2.0
ROWS_A_CHUNK = 10_000
BYTES_A_SEGMENT = 64 << 20
"""A segment of this size is closed even while the server is down, so that one file never grows without end."""
MOST_SHARE = 0.2
"""Of the time that sealing may take a processor, where streams are so many that every two seconds would be more."""
LONGEST_PAUSE_S = 15.0
REFUSED_PAUSE_S = 60.0
DRAFT_KEPT_S = 600.0
"""How long a stored blob that could not be registered is taken as it is, far below the grace of a sweep."""
Asked = Future[dict[str, int]]
Piece = tuple[str, Iterable[Any]]
"""A column of the rows of one layout: dtype and values."""


class NoRows(Exception):
    """What a segment holds makes no rows of its stream."""


class Draft(NamedTuple):
    """A closed segment whose rows are stored as a blob; ``chunk`` says how they read, None if there are none."""

    key: StreamKey
    stream: Stream
    number: int
    damaged_bytes: int
    chunk: StoredChunk | None
    stored_at: float = 0.0


def pause_s(busy_s: float) -> float:
    """Return how long after the beginning of a round the next one begins, by the seconds of processor that it took."""
    return max(SEAL_EVERY_S, busy_s / MOST_SHARE)


class ChunkSealer:
    """Seals every stream every two seconds, of many streams more seldom, and those that are asked for at once.

    Args:
        spool: Where the rows are.
        blobs: Where chunks go.
        control: Where they are registered.
        writer: Name of this spool; a chunk is known by (writer, segment number).
        rename: Gives this spool a new name, for when its numbers turn out to be taken.
    """

    def __init__(
        self, spool: Spool, blobs: BlobStore, control: VerbCaller, writer: str, rename: Callable[[], str]
    ) -> None:
        self.sealed_rows = 0
        self.failure = ""
        self._failing_since = 0.0
        self._spool, self._blobs, self._control = spool, blobs, control
        self._writer, self._rename = writer, rename
        self._asked: dict[Streams, list[Asked]] = {}
        self._lock, self._wake, self._stopping = threading.Lock(), threading.Event(), threading.Event()
        self._pause_s, self._due = 0.0, time.monotonic() + SEAL_EVERY_S
        self._refused: dict[StreamKey, float] = {}
        self._drafts: dict[StreamKey, Draft] = {}
        self._thread = threading.Thread(target=self._run, name="sealing", daemon=True)

    @property
    def fails_for_s(self) -> float:
        """How long sealing has failed without a break, in seconds; 0 where it does not."""
        return time.monotonic() - self._failing_since if self.failure else 0.0

    def start(self) -> None:
        """Begin sealing in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Seal what is there, once, and end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def seal(self, streams: Streams = EVERY_STREAM) -> Asked:
        """Ask for a seal of what streams took until now; the future ends when it is registered, or with why not."""
        asked: Asked = Future()
        with self._lock:
            self._asked.setdefault(streams, []).append(asked)
        self._wake.set()
        return asked

    def nudge(self, key: StreamKey) -> None:
        """Wake the thread early if a stream has a chunk's worth of rows."""
        if self._spool.streams[key].rows >= ROWS_A_CHUNK and not self.failure:
            self._due = 0.0
            self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(max(0.0, self._due - time.monotonic()))
            self._wake.clear()
            self._answer()
            if time.monotonic() >= self._due:
                self._round(EVERY_STREAM)
        self._answer()
        if not self.failure:
            self._round(EVERY_STREAM)

    def _answer(self) -> None:
        """Seal what was asked for."""
        with self._lock:
            wanted, self._asked = self._asked, {}
        for streams, asked in wanted.items():
            self._round(streams, [future for future in asked if future.set_running_or_notify_cancel()])

    def _round(self, streams: Streams, asked: Sequence[Asked] = ()) -> None:
        is_whole = streams == EVERY_STREAM
        began, busy_s = time.monotonic(), time.thread_time()
        if is_whole:
            self._due = began + SEAL_EVERY_S
        try:
            answer = self._seal_streams(streams, is_asked=bool(asked))
        except Exception as error:
            # The thread must outlive any one bad segment; its rows stay on the disk and are tried again.
            if not isinstance(error, LoopwrightError | OSError):
                log.exception("sealing failed")
            self._back_off(str(error))
            for future in asked:
                future.set_exception(error)
            return
        if is_whole and self._due:  # else somebody has asked for the next round meanwhile
            self._due = began + pause_s(time.thread_time() - busy_s)
        if self.failure:  # the others may go through as well: they are tried now
            self._due = 0.0
        self._pause_s, self.failure = 0.0, "" if is_whole else self.failure
        for future in asked:
            future.set_result(answer)

    def _back_off(self, why: str) -> None:
        if not self.failure:
            self._failing_since = time.monotonic()
            log.warning("sealing waits: %s", why)
        self.failure = why
        self._pause_s = min(max(2 * self._pause_s, SEAL_EVERY_S), LONGEST_PAUSE_S)
        self._due = time.monotonic() + self._pause_s

    def _seal_streams(self, streams: Streams, *, is_asked: bool) -> dict[str, int]:
        """Seal one segment of each stream after another, each pass one call a project, until none is left.

        What fails holds up its own stream only; the first failure is raised when all others are through.
        """
        answer, failed = {"chunks": 0, "rows": 0}, dict[StreamKey, Exception]()
        left = self._close_segments(streams, failed, is_asked=is_asked)
        while left:
            drafts: dict[str, list[Draft]] = {}
            for key, numbers in left.items():
                try:
                    drafts.setdefault(key.project, []).append(self._draft_once(key, numbers.pop(0)))
                except Exception as error:  # noqa: BLE001 - raised below
                    failed[key] = error
            for project, found in drafts.items():
                try:
                    failed |= self._hand_over(project, found, answer)
                except LoopwrightError as error:
                    failed |= {draft.key: error for draft in found}
            left = {key: rest for key, rest in left.items() if rest and key not in failed and self._may_seal(key)}
        for failure in failed.values():
            raise failure
        return answer

    def _close_segments(
        self, streams: Streams, failed: dict[StreamKey, Exception], *, is_asked: bool
    ) -> dict[StreamKey, list[int]]:
        """Return the closed segments of each stream, after closing those that are open; ``failed`` gets what fails."""
        found = {}
        for key, stream in list(self._spool.streams.items()):
            if not streams.hold(*key) or not self._may_seal(key):
                continue
            if is_asked or not self.failure or stream.size > BYTES_A_SEGMENT or not stream.closed():
                try:
                    self._spool.roll(key)
                except OSError as error:
                    failed[key] = error
            if numbers := stream.closed():
                found[key] = numbers
        return found

    def _may_seal(self, key: StreamKey) -> bool:
        return self._refused.get(key, 0) <= time.monotonic()

    def _draft_once(self, key: StreamKey, number: int) -> Draft:
        """Return the draft of a segment; while the server is away, each try takes the one that is stored already."""
        known = self._drafts.get(key)
        if known is None or known.number != number or known.stored_at < time.monotonic() - DRAFT_KEPT_S:
            known = self._drafts[key] = self._draft(key, number)
        return known

    def _draft(self, key: StreamKey, number: int, first_kept: str = "") -> Draft:
        """Store the rows of a closed segment, from an id on, as a Parquet blob."""
        stream = self._spool.streams[key]
        segment = read_segment(stream.path(number))
        frame = _frame_of(segment, key, first_kept)
        if frame is None or frame.is_empty():
            return Draft(key, stream, number, segment.damaged_bytes, None)
        blob = self._blobs.put(chunks.pack_rows(frame))
        place = {"kind": key.kind, "stream": key.stream, "writer": self._writer}
        chunk = chunks.describe_chunk(frame, blob, seq=number, **place)
        return Draft(key, stream, number, segment.damaged_bytes, chunk, time.monotonic())

    def _hand_over(self, project: str, drafts: list[Draft], answer: dict[str, int]) -> dict[StreamKey, Exception]:
        """Register stored rows, let go of what was taken, and count it in ``answer``; return what failed."""
        failed = dict[StreamKey, Exception]()
        for draft in self._register(project, drafts, failed):
            answer["chunks"] += draft.chunk is not None
            answer["rows"] += self._finish(draft)
        return failed

    def _register(self, project: str, drafts: list[Draft], failed: dict[StreamKey, Exception]) -> Iterator[Draft]:
        """Tell the server of stored rows in one call and yield what it took; where it refuses one, each by itself.

        What is yielded has to be let go of before the next is sent: after a conflict that goes under another name.
        """
        # The name may have changed since the draft was made.
        stored = [msgspec.structs.replace(draft.chunk, writer=self._writer) for draft in drafts if draft.chunk]
        try:
            if stored:
                self._control.within(project).call(chunks.register, chunks=stored)
        except (Unavailable, TooBusy):
            raise  # no draft is to blame, and each by itself would be so many calls more
        except LoopwrightError as error:
            if len(drafts) == 1:
                yield from self._refuse(drafts[0], error, failed)
                return
        else:
            yield from drafts
            return
        for draft in drafts:
            yield from self._register(project, [draft], failed)

    def _refuse(self, draft: Draft, error: LoopwrightError, failed: dict[StreamKey, Exception]) -> Iterator[Draft]:
        """Keep rows that the server will not have, but for those that were deleted; they must not hold up others."""
        name = "/".join(draft.key)
        if error.details.get("deleted"):
            rest = self._without_deleted(draft, error)
            yield from self._register(draft.key.project, [rest], failed)
        elif isinstance(error, Conflict):
            # The folder is an older copy or has a twin: from here on its numbers are counted under another name.
            self._writer = self._rename()
            self._drafts.pop(draft.key, None)
            log.error(
                "rows of %s are in no chunk and stay in %s: %s", name, draft.stream.put_aside(draft.number), error
            )
        elif isinstance(error, InvalidInput | NotFound):
            log.warning("rows of %s are refused and stay in the spool: %s", name, error)
            self._refused[draft.key] = time.monotonic() + REFUSED_PAUSE_S
        else:
            failed[draft.key] = error

    def _without_deleted(self, draft: Draft, error: LoopwrightError) -> Draft:
        """Return a segment with those of its rows that may be kept: what they belong to was deleted after they came.

        Where that is there again, under the same name, the rows that came since are its own.
        """
        first_kept = error.details.get("first_kept")
        rest = self._draft(draft.key, draft.number, first_kept) if first_kept else draft._replace(chunk=None)
        rows = (0 if draft.chunk is None else draft.chunk.rows) - (0 if rest.chunk is None else rest.chunk.rows)
        log.warning("%s rows of %s are dropped: %s", rows, "/".join(draft.key), error)
        return rest

    def _finish(self, draft: Draft) -> int:
        """Let go of a segment whose rows are registered; return how many they are."""
        self._drafts.pop(draft.key, None)
        rows = 0 if draft.chunk is None else draft.chunk.rows
        if draft.damaged_bytes:
            kept = draft.stream.put_aside(draft.number)
            log.error("%s bytes of %s are damaged: sealed the %s rows before them", draft.damaged_bytes, kept, rows)
        else:
            self._spool.let_go(draft.stream, draft.number)
        self.sealed_rows += rows
        return rows


def _frame_of(segment: Segment, key: StreamKey, first_kept: str) -> "pl.DataFrame | None":
    """Return the rows of a segment from an id on, in the order of their ids; None where there are none.

    Raises:
        NoRows: They are none of this stream.
    """
    import polars as pl

    stream = STREAMS[key.kind]
    try:
        frame = to_frame(segment.batches)
        if frame is None:
            return None
        frame = frame.sort(stream.id_column)
        declared = stream.schema().items()
        if wrong := [name for name, dtype in declared if frame.schema.get(name, dtype) not in (dtype, pl.Null())]:
            raise NoRows(f"{', '.join(wrong)}: of other dtypes than the stream has")
        return frame.filter(pl.col(stream.id_column) >= first_kept) if first_kept else frame
    except pl.exceptions.PanicException as error:  # it is no Exception, and would end the thread that seals
        raise NoRows(str(error)) from None


def to_frame(batches: Sequence[Batch]) -> "pl.DataFrame | None":
    """Return all batches as one frame, columns in order of first appearance; None where there are no rows.

    A column that changed its type between layouts becomes the wider type, or text.
    """
    import polars as pl

    by_layout: dict[int, list[Batch]] = {}
    for batch in batches:
        by_layout.setdefault(id(batch.layout), []).append(batch)
    if not by_layout:
        return None
    sizes = [sum(batch.rows for batch in found) for found in by_layout.values()]
    columns: dict[str, list[Piece]] = {}
    for index, found in enumerate(by_layout.values()):
        for name, piece in _pieces(found, sizes[index]):
            columns.setdefault(name, [("null", repeat(None, size)) for size in sizes])[index] = piece
    return pl.DataFrame([_column(name, pieces, sizes) for name, pieces in columns.items()])


def _pieces(batches: Sequence[Batch], rows: int) -> Iterator[tuple[str, Piece]]:
    """Yield name, dtype and values of each column of batches of one layout."""
    layout = batches[0].layout
    for index, (name, dtype) in enumerate(layout.columns):
        yield name, (dtype, chain.from_iterable([batch.columns[index] for batch in batches]))
    for name, dtype, value in layout.constants:
        yield name, (dtype, repeat(value, rows))


def _column(name: str, pieces: Sequence[Piece], sizes: Sequence[int]) -> "pl.Series":
    import polars as pl

    dtypes = {dtype for dtype, _ in pieces if dtype != "null"} or {"null"}
    if dtypes == {"f64"}:
        return _numbers(name, pieces, sizes)
    if len(dtypes) == 1:
        return pl.Series(name, list(chain.from_iterable(values for _, values in pieces)), dtype=_type(dtypes.pop()))
    found = [
        _numbers(name, [piece], [size]) if piece[0] == "f64" else pl.Series(name, list(piece[1]), dtype=_type(piece[0]))
        for piece, size in zip(pieces, sizes, strict=True)
    ]
    if "str" in dtypes:
        found = [series.cast(pl.String) for series in found]
    return pl.concat([series.to_frame() for series in found], how="vertical_relaxed").to_series()


def _numbers(name: str, pieces: Sequence[Piece], sizes: Sequence[int]) -> "pl.Series":
    """Return numbers; NaN is a missing value."""
    import numpy as np
    import polars as pl

    parts = [
        np.fromiter(values, np.float64, size) if dtype == "f64" else np.full(size, np.nan)
        for (dtype, values), size in zip(pieces, sizes, strict=True)
    ]
    return pl.Series(name, np.concatenate(parts), nan_to_null=True)


def _type(dtype: str) -> Any:
    import polars as pl

    types: dict[str, Any] = {
        "i64": pl.Int64,
        "str": pl.String,
        "bool": pl.Boolean,
        "time": pl.Datetime("us", "UTC"),
        "null": pl.Null,
    }
    return types[dtype]
