"""Sealing: spool segments become Parquet chunks that the server knows of."""

import io
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from loopwright.gateway.control import ControlPlane
from loopwright.gateway.spool import Batch, Spool, Stream, StreamKey, read_segment
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, NotFound
from loopwright.store.blobs import BlobStore
from loopwright.store.types import Chunk

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("loopwright.gateway")
SEAL_EVERY_S = 1.0
ROWS_A_CHUNK = 10_000
BYTES_A_SEGMENT = 64 << 20
"""A segment of this size is closed even while the server is down, so that one file never grows without end."""
LONGEST_PAUSE_S = 15.0
REFUSED_PAUSE_S = 60.0
ID_COLUMNS = {"predictions": "prediction_id", "labels": "label_id", "pushes": "push_id"}


class Sealer:
    """Seals every stream each second, or when asked.

    Args:
        spool: Where the rows are.
        blobs: Where chunks go.
        control: Where they are registered.
        writer: Name of this spool; a chunk is known by (writer, segment number).
        rename: Gives this spool a new name, for when its numbers turn out to be taken.
    """

    def __init__(
        self, spool: Spool, blobs: BlobStore, control: ControlPlane, writer: str, rename: Callable[[], str]
    ) -> None:
        self.sealed_rows = 0
        self.failure = ""
        self._spool, self._blobs, self._control = spool, blobs, control
        self._writer, self._rename = writer, rename
        self._asked: list[Future[dict[str, int]]] = []
        self._lock, self._wake, self._stopping = threading.Lock(), threading.Event(), threading.Event()
        self._pause_s, self._next_try = 0.0, 0.0
        self._refused: dict[StreamKey, float] = {}
        self._thread = threading.Thread(target=self._run, name="sealing", daemon=True)

    def start(self) -> None:
        """Begin sealing in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Seal what is there, once, and end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def seal(self) -> "Future[dict[str, int]]":
        """Ask for a seal of everything spooled until now; the future ends when it is registered, or with why not."""
        asked: Future[dict[str, int]] = Future()
        with self._lock:
            self._asked.append(asked)
        self._wake.set()
        return asked

    def nudge(self, key: StreamKey) -> None:
        """Wake the thread early if a stream has a chunk's worth of rows."""
        if self._spool.streams[key].rows >= ROWS_A_CHUNK:
            self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(SEAL_EVERY_S)
            self._wake.clear()
            self._round(self._take())
        self._round(self._take())

    def _take(self) -> "list[Future[dict[str, int]]]":
        with self._lock:
            asked, self._asked = self._asked, []
        return asked

    def _round(self, asked: "Sequence[Future[dict[str, int]]]") -> None:
        if not asked and time.monotonic() < self._next_try:
            return
        try:
            answer = self._seal_all(is_asked=bool(asked))
        except (LoopwrightError, OSError) as error:
            self._back_off(str(error))
            for future in asked:
                future.set_exception(error)
        except Exception as error:
            # The thread must outlive any one bad segment; its rows stay on the disk and are tried again.
            log.exception("sealing failed")
            self._back_off(str(error))
            for future in asked:
                future.set_exception(error)
        else:
            self._pause_s, self.failure = 0.0, ""
            for future in asked:
                future.set_result(answer)

    def _back_off(self, why: str) -> None:
        if not self.failure:
            log.warning("sealing waits: %s", why)
        self.failure = why
        self._pause_s = min(max(2 * self._pause_s, SEAL_EVERY_S), LONGEST_PAUSE_S)
        self._next_try = time.monotonic() + self._pause_s

    def _seal_all(self, *, is_asked: bool) -> dict[str, int]:
        answer = {"chunks": 0, "rows": 0}
        failure: LoopwrightError | None = None
        for key, stream in list(self._spool.streams.items()):
            if self._refused.get(key, 0) > time.monotonic():
                continue
            if is_asked or not self.failure or stream.size > BYTES_A_SEGMENT or not stream.closed():
                self._spool.roll(key)
            for number in stream.closed():
                try:
                    rows = self._seal_segment(key, stream, number)
                except (NotFound, InvalidInput) as error:
                    # The server will not have these rows; they stay, and must not hold up the other streams.
                    self._refuse(key, error)
                    break
                except LoopwrightError as error:
                    failure = error
                    break
                answer["chunks"] += rows > 0
                answer["rows"] += rows
        if failure is not None:
            raise failure
        return answer

    def _refuse(self, key: StreamKey, error: LoopwrightError) -> None:
        log.warning("rows of %s are refused and stay in the spool: %s", "/".join(key), error)
        self._refused[key] = time.monotonic() + REFUSED_PAUSE_S

    def _seal_segment(self, key: StreamKey, stream: Stream, number: int) -> int:
        segment = read_segment(stream.path(number))
        frame = to_frame(segment.batches)
        rows = 0 if frame is None else frame.height
        try:
            if frame is not None:
                self._register(key, number, frame)
        except Conflict as error:
            # The folder is an older copy or has a twin: from here on its numbers are counted under another name.
            self._writer = self._rename()
            log.error("rows of %s are in no chunk and stay in %s: %s", "/".join(key), stream.put_aside(number), error)
            return 0
        if segment.damaged_bytes:
            kept = stream.put_aside(number)
            log.error("%s bytes of %s are damaged: sealed the %s rows before them", segment.damaged_bytes, kept, rows)
        else:
            stream.path(number).unlink()
        self.sealed_rows += rows
        return rows

    def _register(self, key: StreamKey, number: int, frame: "pl.DataFrame") -> None:
        name = ID_COLUMNS[key.kind]
        frame = frame.sort(name)
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1)
        blob = self._blobs.put(buffer.getvalue())
        ids, times = frame.get_column(name), frame.get_column("event_at")
        args: dict[str, Any] = {
            "kind": key.kind,
            "stream": key.stream,
            "writer": self._writer,
            "seq": number,
            "digest": blob.digest,
            "rows": frame.height,
            "size_bytes": blob.size_bytes,
            "id_first": ids[0],
            "id_last": ids[-1],
            "event_at_min": times.min(),
            "event_at_max": times.max(),
        }
        self._control.call("chunks.register", args, Chunk, key.project)


def to_frame(batches: Sequence[Batch]) -> "pl.DataFrame | None":
    """Return all batches as one frame, columns in order of first appearance; None where there are no rows.

    A column that changed its type between layouts becomes the wider type, or text.
    """
    import polars as pl

    by_layout: dict[Any, list[Batch]] = {}
    for batch in batches:
        by_layout.setdefault(batch.layout, []).append(batch)
    frames = [_of_layout(found) for found in by_layout.values()]
    if not frames:
        return None
    return pl.concat(_with_one_type(frames), how="diagonal_relaxed")


def _of_layout(batches: Sequence[Batch]) -> "pl.DataFrame":
    import polars as pl

    types: dict[str, Any] = {
        "i64": pl.Int64,
        "f64": pl.Float64,
        "str": pl.String,
        "bool": pl.Boolean,
        "time": pl.Datetime("us", "UTC"),
        "null": pl.Null,
    }
    layout = batches[0].layout
    columns = []
    for place, (name, dtype) in enumerate(layout.columns):
        values = [value for batch in batches for value in batch.columns[place]]
        series = pl.Series(name, values, dtype=types[dtype])
        columns.append(series.fill_nan(None) if dtype == "f64" else series)
    constants = [pl.lit(value, dtype=types[dtype]).alias(name) for name, dtype, value in layout.constants]
    return pl.DataFrame(columns).with_columns(constants)


def _with_one_type(frames: "list[pl.DataFrame]") -> "list[pl.DataFrame]":
    """Turn columns that are text in one frame and something else in another into text everywhere."""
    import polars as pl

    texts = {name for frame in frames for name, dtype in frame.schema.items() if dtype == pl.String}
    mixed = [
        {name: pl.String for name in texts if frame.schema.get(name, pl.Null) not in (pl.String, pl.Null)}
        for frame in frames
    ]
    return [frame.cast(wanted) if wanted else frame for frame, wanted in zip(frames, mixed, strict=True)]  # type: ignore[arg-type]
