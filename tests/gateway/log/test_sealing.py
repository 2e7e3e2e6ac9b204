"""Spooled rows become chunks once each, whatever their layouts and whatever the server does meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import DatasetSpec, SourceSpec
from loopwright.gateway.log import sealing
from loopwright.gateway.log.batches import Batch, Layout, StreamKey
from loopwright.gateway.log.sealing import ChunkSealer, NoRows, to_frame
from loopwright.gateway.log.segments import read_segment
from loopwright.gateway.log.spool import Spool
from loopwright.governance import SERVICE_ACTOR
from loopwright.kernel.errors import Corrupt, Unavailable
from loopwright.kernel.ids import new_ids
from loopwright.store import forgetting, sql
from loopwright.store.types import Streams, Tombstone
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import VerbCaller
from loopwright.wire.credentials import gateway_token
from loopwright.wire.line import ServiceLine
from tests.gateway.conftest import TOKEN, World

LATE = StreamKey("flights", "labels", "late")
LABELS = Layout((("label_id", "str"), ("prediction_id", "str"), ("event_at", "i64"), ("label", "f64")))


def labels(*ids: str) -> Batch:
    return Batch(LABELS, len(ids), [list(ids), [f"of {id}" for id in ids], list(range(len(ids))), [1.0] * len(ids)])


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool")
    yield made
    made.close()


def sealer_of(world: World, spool: Spool) -> ChunkSealer:
    control = VerbCaller(Addresses(world.server.url), ServiceLine(gateway_token(TOKEN, "http://gateway")))
    made = ChunkSealer(spool, world.blobs, control, "gw_test", lambda: "gw_renamed")
    made.start()
    return made


def take_number(world: World, spool: Spool) -> None:
    """Seal one label, so that the first number of its stream is taken."""
    spool.append(LATE, [labels("a")])
    sealer = sealer_of(world, spool)
    sealer.seal().result(20)
    sealer.stop()


def test_layouts_are_joined_and_types_reconciled() -> None:
    first = Batch(
        Layout((("push_id", "str"), ("a", "i64"), ("t", "time")), (("release", "i64", 3),)), 1, [["1"], [1], [0]]
    )
    second = Batch(
        Layout((("push_id", "str"), ("a", "f64"), ("b", "str"))), 2, [["2", "3"], [0.5, float("nan")], ["x", None]]
    )
    third = Batch(Layout((("push_id", "str"), ("b", "i64"))), 1, [["4"], [7]])
    frame = to_frame([first, second, second, third])
    assert frame is not None
    assert frame["a"].to_list() == [1.0, 0.5, None, 0.5, None, None]
    assert frame["b"].to_list() == [None, "x", None, "x", None, "7"]
    assert frame["release"].to_list() == [3, None, None, None, None, None]
    assert frame["t"].dtype == pl.Datetime("us", "UTC")
    assert to_frame([]) is None


def test_rows_are_sealed_sorted_and_once(world: World, spool: Spool) -> None:
    spool.append(LATE, [labels("c", "a")])
    sealer = sealer_of(world, spool)
    assert sealer.seal().result(20)["chunks"] <= 1
    spool.append(LATE, [labels("b")])
    sealer.seal().result(20)
    assert sealer.seal().result(20) == {"chunks": 0, "rows": 0}
    sealer.stop()
    found = world.server.call("chunks.find", kind="labels", stream="late")
    assert [(chunk.seq, chunk.rows, chunk.id_first, chunk.id_last) for chunk in found] == [
        (1, 2, "a", "c"),
        (2, 1, "b", "b"),
    ]
    assert spool.streams[LATE].closed() == []


def test_a_segment_sent_twice_is_one_chunk(world: World, spool: Spool, tmp_path: Path) -> None:
    spool.append(LATE, [labels("a")])
    spool.roll(LATE)
    path = spool.streams[LATE].path(1)
    body = path.read_bytes()
    sealer = sealer_of(world, spool)
    sealer.seal().result(20)
    path.write_bytes(body)
    sealer.seal().result(20)
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a"]


def test_a_damaged_segment_is_sealed_as_far_as_it_can_be_read_and_kept(world: World, spool: Spool) -> None:
    for name in "abc":
        spool.append(LATE, [labels(name)])
    stream = spool.streams[LATE]
    path = stream.path(1)
    body = bytearray(path.read_bytes())
    body[body.index(b"\xa1b")] ^= 1
    path.write_bytes(body)
    spool.append(LATE, [labels("d")])
    sealer = sealer_of(world, spool)
    sealer.seal().result(20)
    spool.append(LATE, [labels("e")])
    sealer.seal().result(20)
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a", "e"]
    assert spool.kept_aside == ["flights/labels/late/000000000001.bad"]
    assert path.with_suffix(".bad").read_bytes()[: len(body)] == body


def test_a_write_that_was_cut_off_needs_nobody_in_a_closed_segment_either(world: World, spool: Spool) -> None:
    """A gateway that lacked room or handles when it started left the tail to whoever seals."""
    spool.append(LATE, [labels("a")])
    path = spool.streams[LATE].path(1)
    path.write_bytes(path.read_bytes() + b"\x20\0\0\0\1\2\3\4half a record")
    sealer = sealer_of(world, spool)
    sealer.seal().result(20)
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a"]
    assert spool.kept_aside == []
    assert not path.exists()


def test_rows_under_a_number_that_is_taken_are_kept_and_the_next_go_on(
    world: World, spool: Spool, tmp_path: Path
) -> None:
    spool.append(LATE, [labels("a")])
    sealer = sealer_of(world, spool)
    sealer.seal().result(20)
    spool.append(LATE, [labels("b")])
    sealer.seal().result(20)
    sealer.stop()
    # An older copy of the folder is put back, so that its next numbers are taken already.
    older = Spool(tmp_path / "older")
    older.append(LATE, [labels("c", "d")])
    older.roll(LATE)
    older.append(LATE, [labels("e")])
    sealer = sealer_of(world, older)
    sealer.seal().result(20)
    sealer.stop()
    assert sorted(world.chunks("labels")["label_id"]) == ["a", "b", "e"]
    assert older.kept_aside == ["flights/labels/late/000000000001.bad"]
    older.close()


def test_many_streams_are_sealed_more_seldom_so_that_requests_keep_most_of_the_processor() -> None:
    assert sealing.pause_s(0.1) == sealing.SEAL_EVERY_S
    assert sealing.pause_s(1.7) == 1.7 / sealing.MOST_SHARE


def test_a_seal_that_names_streams_leaves_the_others_alone(
    world: World, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.gateway.log.sealing.SEAL_EVERY_S", 3600.0)
    sealer = sealer_of(world, spool)
    early = StreamKey("flights", "labels", "early")
    for key in (LATE, early):
        spool.append(key, [labels("a", "b")])
    assert sealer.seal(Streams("flights", ("predictions", "labels"), "late")).result(20) == {"chunks": 1, "rows": 2}
    assert sealer.seal(Streams("flights", ("predictions",))).result(20) == {"chunks": 0, "rows": 0}
    assert world.server.call("chunks.find", kind="labels", stream="early") == []
    assert sealer.seal(Streams(kinds=("labels",))).result(20) == {"chunks": 1, "rows": 2}
    spool.append(LATE, [labels("c")])
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a", "b", "c"]


def test_a_chunk_that_is_refused_holds_up_no_other_of_its_round(
    world: World, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.gateway.log.sealing.SEAL_EVERY_S", 3600.0)
    take_number(world, spool)
    older = Spool(tmp_path / "older")
    timeless = StreamKey("flights", "labels", "timeless")
    older.append(LATE, [labels("taken")])
    older.append(StreamKey("flights", "labels", "early"), [labels("b"), labels("c")])
    older.append(timeless, [Batch(LABELS, 1, [["d"], ["of d"], [None], [1.0]])])
    sealer = sealer_of(world, older)
    assert sealer.seal().result(20) == {"chunks": 1, "rows": 2}
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a"]
    assert world.chunks("labels", "early")["label_id"].to_list() == ["b", "c"]
    assert older.kept_aside == ["flights/labels/late/000000000001.bad"]
    assert older.streams[timeless].closed() == [1]
    older.close()


def test_what_was_taken_before_a_conflict_is_not_sent_under_the_new_name(
    world: World, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.gateway.log.sealing.SEAL_EVERY_S", 3600.0)
    take_number(world, spool)
    older, last = Spool(tmp_path / "older"), StreamKey("flights", "labels", "last")
    older.append(StreamKey("flights", "labels", "early"), [labels("b")])
    older.append(LATE, [labels("taken")])
    older.append(last, [labels("c")])
    whole = VerbCaller.call

    def cut_off(self: VerbCaller, verb: Any, /, **args: Any) -> Any:
        if [chunk.stream for chunk in args.get("chunks", [])] == ["last"]:
            raise Unavailable("the server does not answer")
        return whole(self, verb, **args)

    monkeypatch.setattr(VerbCaller, "call", cut_off)
    sealer = sealer_of(world, older)
    with pytest.raises(Unavailable):
        sealer.seal().result(20)
    monkeypatch.setattr(VerbCaller, "call", whole)
    assert sealer.seal().result(20) == {"chunks": 1, "rows": 1}
    sealer.stop()
    assert world.chunks("labels", "early")["label_id"].to_list() == ["b"]
    assert world.chunks("labels", "last")["label_id"].to_list() == ["c"]
    older.close()


def test_a_segment_that_cannot_be_read_as_rows_holds_up_no_other_stream(world: World, spool: Spool) -> None:
    odd = StreamKey("flights", "labels", "odd")
    spool.append(odd, [Batch(Layout((("event_at", "i64"),)), 1, [[1]])])
    spool.append(LATE, [labels("a")])
    sealer = sealer_of(world, spool)
    with pytest.raises(Exception, match="label_id"):
        sealer.seal().result(20)
    assert sealer.failure
    assert sealer.seal(Streams(stream="late")).result(20)["rows"] <= 1
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a"]
    assert spool.streams[odd].closed() == [1]


class FaultyCaller(VerbCaller):
    """A server with a fault in whatever it does with the stream ``odd``."""

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        if any(chunk.stream == "odd" for chunk in kwargs["chunks"]):
            raise Corrupt("something broke")
        return super().call(function, *args, **kwargs)


def test_a_fault_of_the_server_over_one_stream_holds_up_no_other_of_its_round(
    world: World, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.gateway.log.sealing.SEAL_EVERY_S", 3600.0)
    odd = StreamKey("flights", "labels", "odd")
    spool.append(odd, [labels("x")])
    spool.append(LATE, [labels("a")])
    line = ServiceLine(gateway_token(TOKEN, "http://gateway"))
    sealer = ChunkSealer(
        spool, world.blobs, FaultyCaller(Addresses(world.server.url), line), "gw_test", lambda: "gw_new"
    )
    sealer.start()
    with pytest.raises(Corrupt, match="something broke"):
        sealer.seal().result(20)
    assert world.chunks("labels")["label_id"].to_list() == ["a"]
    assert (spool.streams[LATE].closed(), spool.streams[odd].closed()) == ([], [1])
    assert "something broke" in sealer.failure
    sealer.stop()


def test_the_server_may_be_away(world: World, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    world.server.stop()
    spool.append(LATE, [labels("a")])
    sealer = sealer_of(world, spool)
    read: list[Path] = []
    monkeypatch.setattr(sealing, "read_segment", lambda path: read.append(path) or read_segment(path))
    for _ in range(3):
        with pytest.raises(Unavailable):
            sealer.seal().result(20)
    assert len(read) == 1, "what is stored already was packed again"
    assert sealer.failure
    spool.append(LATE, [labels("b")])
    world.server.start()
    sealer.seal().result(20)
    assert sealer.failure == ""
    sealer.stop()
    assert sorted(world.chunks("labels")["label_id"]) == ["a", "b"]


def test_rows_nobody_wants_do_not_hold_up_others(world: World, spool: Spool) -> None:
    gone = StreamKey("gone", "labels", "late")
    spool.append(gone, [labels("x")])
    spool.append(LATE, [labels("a")])
    sealer = sealer_of(world, spool)
    sealer.seal().result(20)
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a"]
    assert spool.streams[gone].closed() == [1]


def test_rows_of_a_project_that_was_deleted_meanwhile_are_let_go(
    world: World, spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("loopwright.gateway.log.sealing.SEAL_EVERY_S", 3600.0)
    world.server.call("projects.create", project="_system", name="ended")
    ended = StreamKey("ended", "labels", "late")
    sealer = sealer_of(world, spool)
    spool.append(ended, [labels("a")])
    world.server.call("projects.close", project="ended", reason="the desk closed")
    assert sealer.seal().result(20) == {"chunks": 1, "rows": 1}, "what was answered before a project closed is taken"
    spool.append(ended, [labels("b", "c")])
    spool.append(LATE, [labels("d")])
    world.server.call("projects.delete", project="ended", reason="the desk closed")
    while world.server.call("projects.forget_rows", project="ended"):
        pass
    assert sealer.seal().result(20) == {"chunks": 1, "rows": 1}
    sealer.stop()
    assert spool.streams[ended].closed() == []
    assert spool.kept_aside == []
    assert "2 rows of ended/labels/late are dropped: project ended was deleted at" in caplog.text
    assert world.server.dispatcher.read("ended", SERVICE_ACTOR, forgetting.count_rows) == {}


def test_of_pushes_to_a_dataset_that_was_declared_anew_those_since_are_kept(
    world: World, spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("loopwright.gateway.log.sealing.SEAL_EVERY_S", 3600.0)
    spec = DatasetSpec("flights", SourceSpec("push"), ["id"], "at")
    world.server.call("data.declare", spec=msgspec.to_builtins(spec))
    ended_at = 2_000_000_000_000_000
    ended = Tombstone("flights/dataset:flights", "dataset", "flights", None, ended_at, "person:ana", "a typo", {})
    world.server.dispatcher.write("flights", SERVICE_ACTOR, lambda tx: sql.put_tombstones(tx, [ended]))
    key, layout = StreamKey("flights", "pushes", "flights"), Layout((("push_id", "str"), ("event_at", "i64")))
    before, since = (new_ids("push", 2, ended_at + shift) for shift in (-10_000, 10_000))
    spool.append(key, [Batch(layout, 4, [[*since, *before], [0, 1, 2, 3]])])
    sealer = sealer_of(world, spool)
    assert sealer.seal().result(20) == {"chunks": 1, "rows": 2}
    spool.append(key, [Batch(layout, 2, [before, [4, 5]])])
    assert sealer.seal().result(20) == {"chunks": 0, "rows": 0}
    sealer.stop()
    [kept] = world.server.call("chunks.find", kind="pushes", stream="flights")
    assert (kept.rows, kept.id_first, kept.id_last) == (2, *since)
    assert spool.streams[key].closed() == []
    assert caplog.text.count("2 rows of flights/pushes/flights are dropped: dataset flights was deleted at") == 2


OTHER_DTYPE = Layout((("label_id", "str"), ("prediction_id", "i64"), ("event_at", "i64")))


@pytest.mark.parametrize("is_panic", [True, False])
def test_a_panic_over_rows_is_a_failure_of_their_stream_as_any_other(
    world: World, spool: Spool, monkeypatch: pytest.MonkeyPatch, *, is_panic: bool
) -> None:
    """What Polars raises then is no Exception: it would end the thread that seals the rows of every project."""
    monkeypatch.setattr("loopwright.gateway.log.sealing.SEAL_EVERY_S", 3600.0)
    odd = StreamKey("flights", "labels", "odd")
    spool.append(odd, [Batch(OTHER_DTYPE, 1, [["a"], [1], [0]])])

    def panicking(batches: list[Batch]) -> pl.DataFrame | None:
        if is_panic and batches[0].layout == OTHER_DTYPE:
            raise pl.exceptions.PanicException("index out of bounds")
        return to_frame(batches)

    monkeypatch.setattr("loopwright.gateway.log.sealing.to_frame", panicking)
    sealer = sealer_of(world, spool)
    with pytest.raises(NoRows):
        sealer.seal().result(20)
    spool.append(LATE, [labels("a")])
    assert sealer.seal(Streams(stream="late")).result(20) == {"chunks": 1, "rows": 1}
    sealer.stop()
    assert world.chunks("labels")["label_id"].to_list() == ["a"]
    assert spool.streams[odd].closed() == [1]
