"""Small chunks become large ones: the same rows, found as fast, whoever reads meanwhile."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher, audit
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US, FixedClock
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import Conflict, NotFound
from loopwright.kernel.ids import new_ids
from loopwright.kernel.verbs import verb_of
from loopwright.store import chunks as store_chunks
from loopwright.store import compacting, forgetting, sql
from loopwright.store.backups.spools import SpoolFile, not_sealed
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk, pack_rows, register
from loopwright.store.compacting import Compact, compact, merge
from loopwright.store.events import ChunksMerged
from loopwright.store.streams import LABELS
from loopwright.store.types import Chunk, StoredChunk


class Context:
    """What a worker hands to the job, as far as it asks for it."""

    def __init__(self, dispatcher: Dispatcher, blobs: BlobStore) -> None:
        self.dispatcher, self.blobs = dispatcher, blobs
        self.said: list[str] = []
        self.loses_answers = False

    def call(self, function: Callable[..., Any], /, **args: Any) -> Any:
        for _ in range(1 + self.loses_answers):
            answer = self.dispatcher.call(verb_of(function).name, args, actor=SERVICE_ACTOR, project="flights")
        return answer

    def progress(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def context(dispatcher: Dispatcher, blob_store: BlobStore) -> Context:
    return Context(dispatcher, blob_store)


@pytest.fixture
def log(context: Context, wall: FixedClock) -> Callable[..., list[Chunk]]:
    """Register chunks of ten labels, as many as asked for, every two minutes from a moment on."""

    def put(count: int, *, at_us: int = 0, writer: str = "gateway-0", further: str = "") -> list[Chunk]:
        stored = []
        for number in range(count):
            begin = (at_us or wall.at_us) + number * 2 * MINUTE_US
            columns = {column.name: [None] * 10 for column in LABELS.columns}
            ids = new_ids("label", 10, begin)
            times = [begin + row for row in range(10)]
            columns |= {"label_id": ids, "prediction_id": ids, "event_at": times, "recorded_at": times}
            rows = LABELS.typed(pl.DataFrame(columns | ({further: [1.0] * 10} if further else {})))
            blob = context.blobs.put(pack_rows(rows))
            stored.append(describe_chunk(rows, blob, kind="labels", stream="late", writer=writer, seq=number + 1))
        registered: list[Chunk] = context.call(register, chunks=stored)
        return registered

    return put


def find(context: Context, **asked: Any) -> list[Chunk]:
    chunks: list[Chunk] = context.call(store_chunks.find, kind="labels", **asked)
    return chunks


def read(context: Context, chunks: list[Chunk]) -> pl.DataFrame:
    frames = [pl.read_parquet(context.blobs.path(chunk.digest)) for chunk in chunks]
    return pl.concat(frames, how="diagonal").sort("label_id")


def test_an_hour_becomes_one_chunk_and_a_day_too(context: Context, log: Callable[..., Any], wall: FixedClock) -> None:
    start = wall.at_us // DAY_US * DAY_US
    before = log(90, at_us=start)
    rows = read(context, before)
    assert compact(context, Compact()) == {"before": 0, "after": 0, "rows": 0}, "nothing has settled yet"
    wall.at_us += 20 * MINUTE_US
    assert compact(context, Compact()) == {"before": 90, "after": 3, "rows": 900}
    hours = find(context, stream="late")
    assert [(chunk.level, chunk.rows, chunk.writer) for chunk in hours] == [(1, 300, "gateway-0")] * 3
    assert from_json(to_json(hours), list[Chunk]) == hours, "workers hear of them over the wire"
    assert read(context, hours).equals(rows)
    for chunk in before[::7]:  # by id, and by time
        [holder] = find(context, item_id=chunk.id_first)
        assert holder in find(context, stream="late", start_at=chunk.event_at_min, end_at=chunk.event_at_max + 1)
    wall.at_us += 3 * DAY_US
    assert compact(context, Compact()) == {"before": 3, "after": 1, "rows": 900}
    [day] = find(context, stream="late")
    assert (day.level, day.recorded_at) == (2, before[0].recorded_at)
    assert read(context, [day]).equals(rows)
    assert read(context, before).equals(rows), "who had looked the old ones up still reads them"
    assert compact(context, Compact()) == {"before": 0, "after": 0, "rows": 0}


def test_labels_say_of_what_they_tell_once_they_are_merged(
    context: Context, log: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of before they did are found by time until then."""
    describe = describe_chunk
    with monkeypatch.context() as before:
        before.setitem(
            globals(),
            "describe_chunk",
            lambda *rows, **place: msgspec.structs.replace(describe(*rows, **place), about_first="", about_last=""),
        )
        stored = log(10)
    elsewhere, asked = [("label_", "label_0")], {"stream": "late", "start_at": stored[0].event_at_min}
    assert len(context.call(store_chunks.find_labels, ids=elsewhere, **asked)) == 10
    wall.at_us += HOUR_US
    compact(context, Compact())
    [merged] = find(context, stream="late")
    assert (merged.about_first, merged.about_last) == (stored[0].id_first, stored[-1].id_last)
    assert context.call(store_chunks.find_labels, ids=elsewhere, **asked) == []
    whole = {"stream": "late", "start_at": merged.event_at_max + 1}
    assert context.call(store_chunks.find_labels, ids=[(stored[4].id_first,) * 2], **whole) == [merged]


def test_what_was_merged_is_told_once(context: Context, log: Callable[..., Any], wall: FixedClock) -> None:
    log(10)
    wall.at_us += HOUR_US
    compact(context, Compact())
    context.dispatcher.database.seal()
    told = context.dispatcher.read("flights", SERVICE_ACTOR, lambda tx: audit.list_events(tx, limit=100))
    facts = [event.read(ChunksMerged) for event in told if event.type == "chunks.merged"]
    assert facts == [ChunksMerged(before=10, after=1, rows=100)]


def test_an_answer_that_is_lost_does_no_harm(context: Context, log: Callable[..., Any], wall: FixedClock) -> None:
    rows = read(context, log(30))
    wall.at_us += HOUR_US
    context.loses_answers = True
    assert compact(context, Compact())["rows"] == 300
    assert read(context, find(context, stream="late")).equals(rows)


def test_a_gateway_that_sends_a_merged_segment_again_is_recognised(
    context: Context, log: Callable[..., Any], wall: FixedClock
) -> None:
    before = log(10)
    wall.at_us += HOUR_US
    compact(context, Compact())
    [merged] = find(context, stream="late")
    wall.at_us += 3 * DAY_US
    told = {name: getattr(before[4], name) for name in StoredChunk.__struct_fields__}
    assert context.call(register, chunks=[told]) == [merged]
    assert find(context, stream="late") == [merged]
    with pytest.raises(Conflict, match="other rows under this number"):
        context.call(register, chunks=[{**told, "rows": 9}])


def test_a_spool_that_was_copied_before_its_segments_were_merged_counts_once(
    context: Context, log: Callable[..., Any], wall: FixedClock
) -> None:
    log(10)
    wall.at_us += HOUR_US
    compact(context, Compact())
    files = [SpoolFile(f"gateway/spool/flights/labels/late/{seq}.log", "gateway-0", "0" * 64) for seq in (3, 11)]
    sealed = context.dispatcher.database.read(sql.sealed_segments)
    assert [file.seq for file in not_sealed(files, sealed)] == [11]


def test_chunks_of_other_columns_or_writers_stay_apart(
    context: Context, log: Callable[..., Any], wall: FixedClock
) -> None:
    rows = read(context, [*log(10), *log(10, writer="gateway-1", further="f.more"), *log(10, writer="gateway-2")])
    wall.at_us += HOUR_US
    assert compact(context, Compact())["after"] == 3
    chunks = find(context, stream="late")
    assert sorted((chunk.writer, chunk.rows) for chunk in chunks) == [(f"gateway-{n}", 100) for n in range(3)]
    assert read(context, chunks).height == rows.height


@pytest.mark.parametrize(("bound", "most"), [("MOST_ROWS", 40), ("MOST_CELLS", 40 * len(LABELS.columns))])
def test_large_ones_are_left_alone_and_parts_stay_small(
    context: Context, log: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(compacting, bound, most)
    rows = read(context, log(10))
    wall.at_us += HOUR_US
    assert compact(context, Compact()) == {"before": 10, "after": 3, "rows": 100}
    chunks = find(context, stream="late")
    assert [chunk.rows for chunk in chunks] == [40, 40, 20]
    wall.at_us += 3 * DAY_US
    assert compact(context, Compact())["after"] == 0
    assert read(context, chunks).equals(rows)


def test_what_cannot_be_merged_keeps_nothing_else_waiting(
    context: Context, log: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = log(10), log(10, at_us=wall.at_us + 2 * HOUR_US, writer="gateway-1")
    parts_of = compacting._parts

    def parts(of: Any, chunks: Iterable[Chunk]) -> Any:
        found = list(chunks)
        return iter(()) if found[0].chunk_id == early[0].chunk_id else parts_of(of, found)

    monkeypatch.setattr(compacting, "_GROUPS_AT_ONCE", 1)
    monkeypatch.setattr(compacting, "_parts", parts)
    wall.at_us += 4 * HOUR_US
    assert compact(context, Compact()) == {"before": len(late), "after": 1, "rows": 100}


def test_after_a_pause_of_days_hours_are_merged_and_then_their_day(
    context: Context, log: Callable[..., Any], wall: FixedClock
) -> None:
    """No worker ran over a weekend: the chunks of an hour are due to be merged with it, and with its day."""
    rows = read(context, log(90, at_us=wall.at_us // DAY_US * DAY_US))
    wall.at_us += 4 * DAY_US
    assert compact(context, Compact()) == {"before": 93, "after": 4, "rows": 1800}
    [day] = find(context, stream="late")
    assert (day.level, read(context, [day]).equals(rows)) == (2, True)


def test_chunks_that_go_while_they_are_merged_keep_no_others_small(
    context: Context, log: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention takes what is old whenever its round comes."""
    before = log(20)
    wall.at_us += HOUR_US
    merge_parts = compacting._merge

    def merge_late(of: Any, part: list[Chunk]) -> StoredChunk:
        gone = {"chunk_id": before[3].chunk_id}
        context.dispatcher.write("flights", SERVICE_ACTOR, lambda tx: forgetting.remove_matching(tx, "chunks", gone))
        return merge_parts(of, part)

    monkeypatch.setattr(compacting, "_merge", merge_late)
    assert compact(context, Compact()) == {"before": 19, "after": 1, "rows": 190}


def test_a_group_that_cannot_be_merged_is_left_for_the_next_round(
    context: Context, log: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = log(10)
    log(10, writer="gateway-1")
    wall.at_us += HOUR_US
    describe = compacting.describe_chunk

    def wrongly(*rows: Any, writer: str, **place: Any) -> StoredChunk:
        told = describe(*rows, writer=writer, **place)
        return msgspec.structs.replace(told, rows=told.rows - (writer == "gateway-0"))

    with monkeypatch.context() as broken:
        broken.setattr(compacting, "describe_chunk", wrongly)
        assert compact(context, Compact()) == {"before": 10, "after": 1, "rows": 100}
    assert compact(context, Compact())["before"] == len(early)


def test_a_backlog_is_told_in_pages(
    context: Context, log: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits, an answer names so many groups, or so many chunks of one."""
    rows = read(context, [*log(60, writer="gateway-1"), *log(60)])
    wall.at_us += 4 * HOUR_US
    answers: list[list[Any]] = []
    call = context.call

    def counted(function: Callable[..., Any], /, **args: Any) -> Any:
        answer = call(function, **args)
        if isinstance(answer, list):
            answers.append(answer)
        return answer

    monkeypatch.setattr(context, "call", counted)
    monkeypatch.setattr(compacting, "_GROUPS_AT_ONCE", 3)
    monkeypatch.setattr(compacting, "_CHUNKS_AT_ONCE", 7)
    assert compact(context, Compact()) == {"before": 120, "after": 4, "rows": 1200}
    sizes = [len(answer) for answer in answers]
    assert max(sizes) == 7
    assert max(len(answer) for answer in answers if answer and not isinstance(answer[0], Chunk)) == 3
    assert read(context, find(context, stream="late")).equals(rows)


def test_what_changed_meanwhile_is_not_replaced(context: Context, log: Callable[..., Any], wall: FixedClock) -> None:
    before = log(10)
    told = {name: getattr(before[0], name) for name in StoredChunk.__struct_fields__}
    ids = [chunk.chunk_id for chunk in before]
    for changed in ({"rows": 99}, {"rows": 100, "writer": "gateway-1"}):
        with pytest.raises(Conflict, match="no longer what was merged"):
            context.call(merge, merged=StoredChunk(**{**told, **changed}), level=1, chunk_ids=ids)
    with pytest.raises(Conflict):
        context.call(merge, merged=StoredChunk(**told), level=1, chunk_ids=[ids[0], "chunk_gone"])
    assert find(context, stream="late") == before


def test_a_merged_segment_that_is_sent_again_after_its_rows_were_deleted_is_told_so(
    context: Context, log: Callable[..., Any], wall: FixedClock
) -> None:
    before = log(10)
    wall.at_us += HOUR_US
    compact(context, Compact())
    context.dispatcher.write(
        "flights", SERVICE_ACTOR, lambda tx: forgetting.remove_matching(tx, "chunks", {"stream": "late"})
    )
    told = {name: getattr(before[4], name) for name in StoredChunk.__struct_fields__}
    with pytest.raises(NotFound, match="was taken, and was deleted since") as refused:
        context.call(register, chunks=[told])
    assert refused.value.details == {"deleted": True}
    with pytest.raises(Conflict, match="other rows under this number"):
        context.call(register, chunks=[{**told, "rows": 9}])
    assert find(context, stream="late") == []
