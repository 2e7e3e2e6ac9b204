"""What is acknowledged is on the disk, and what is on the disk comes back, wherever the process died."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.gateway.log import segments
from loopwright.gateway.log.batches import Batch, Layout, StreamKey
from loopwright.gateway.log.segments import HEAD, cut_torn_tail, read_segment, translate
from loopwright.gateway.log.spool import Spool
from loopwright.kernel.errors import StorageFull, Unavailable
from tests.gateway.read_only import read_only

KEY = StreamKey("flights", "predictions", "late")
WIDE = Layout((("prediction_id", "str"), ("score", "f64")), (("release", "i64", 1),))
NARROW = Layout((("prediction_id", "str"),))


def wide(*ids: str) -> Batch:
    return Batch(WIDE, len(ids), [list(ids), [0.5] * len(ids)])


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool")
    yield made
    made.close()


def ids_of(path: Path) -> list[str]:
    return [id for batch in read_segment(path).batches for id in batch.columns[0]]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), share=st.floats(0, 1), garbage=st.binary(max_size=20))
def test_a_file_cut_anywhere_gives_a_prefix_of_whole_batches(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], share: float, garbage: bytes
) -> None:
    root = tmp_path_factory.mktemp("spool")
    spool = Spool(root)
    ends, wanted = [0], [[]]
    for number, size in enumerate(sizes):
        ids = [f"{number}.{row}" for row in range(size)]
        layout = WIDE if number % 2 else NARROW
        batch = wide(*ids) if number % 2 else Batch(layout, size, [ids])
        spool.append(KEY, [batch])
        ends.append(spool.streams[KEY].size)
        wanted.append(wanted[-1] + ids)
    path = spool.streams[KEY].path(1)
    spool.close()
    kept = int(share * ends[-1])
    path.write_bytes(path.read_bytes()[:kept] + garbage)
    cut_torn_tail(path)
    whole = max(place for place, end in enumerate(ends) if end <= kept)
    found = ids_of(path)
    # Garbage never becomes a row; a whole batch is never lost.
    assert found == wanted[whole]

    again = Spool(root)
    again.append(KEY, [wide("after")])
    stream = again.streams[KEY]
    assert [id for number in (*stream.closed(), stream.number) for id in ids_of(stream.path(number))] == [
        *found,
        "after",
    ]
    again.close()


def started_after(root: Path, change: Callable[[bytes], bytes]) -> Spool:
    """Write three batches, change the newest segment as a crash or a bad disk would, and start again."""
    spool = Spool(root)
    for name in "abc":
        spool.append(KEY, [wide(name)])
    spool.close()
    path = spool.streams[KEY].path(1)
    path.write_bytes(change(path.read_bytes()))
    return Spool(root)


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\x20\0\0\0\1\2\3\4half a record", b"abc"])
def test_what_a_crash_cut_off_is_no_damage(tmp_path: Path, tail: bytes) -> None:
    again = started_after(tmp_path, lambda body: body + tail)
    assert ids_of(again.streams[KEY].path(1)) == ["a", "b", "c"]
    assert again.kept_aside == []
    again.close()


def test_a_damaged_length_does_not_hide_what_was_answered_after_it(tmp_path: Path) -> None:
    def longer(body: bytes) -> bytes:
        start = body.index(b"\xa1b")
        begin = max(place for place in range(start) if body[place : place + 1] == b"\x93") - HEAD.size
        return body[: begin + 2] + b"\x7f" + body[begin + 3 :]

    again = started_after(tmp_path, longer)
    assert ids_of(again.streams[KEY].path(1)) == ["a"]
    assert b"\xa1c" in (tmp_path / again.kept_aside[0]).read_bytes()
    again.close()


def test_rows_never_follow_what_was_written_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write fails half-way, and the disk will not cut it off."""
    spool = Spool(tmp_path)
    spool.append(KEY, [wide("a")])
    real = os.write
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda handle, body: real(handle, body[:20]))
        broken.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "bad disk")))
        with pytest.raises(StorageFull):
            spool.append(KEY, [wide("b")])
    spool.append(KEY, [wide("c")])
    stream = spool.streams[KEY]
    stream.flush()
    found = [read_segment(stream.path(number)) for number in (*stream.closed(), stream.number)]
    assert [id for segment in found for batch in segment.batches for id in batch.columns[0]] == ["a", "c"]
    assert [segment.damaged_bytes for segment in found] == [0, 0]
    spool.close()


def test_a_damaged_record_in_the_newest_segment_keeps_what_follows_it(tmp_path: Path) -> None:
    again = started_after(tmp_path, lambda body: body.replace(b"\xa1b", b"\xa1B"))
    assert ids_of(again.streams[KEY].path(1)) == ["a"]
    assert again.kept_aside == ["flights/predictions/late/000000000001.bad"]
    assert b"\xa1c" in (tmp_path / again.kept_aside[0]).read_bytes()
    again.close()


@pytest.mark.parametrize(("number", "is_aside"), [(errno.EMFILE, False), (errno.ENOSPC, False), (errno.EIO, True)])
def test_a_segment_is_set_aside_only_for_what_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_aside: bool
) -> None:
    """Rows that a process could not read while it lacked handles are rows; only a bad disk keeps them for a person."""

    def cannot(_path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(segments, "cut_torn_tail", cannot)
    spool = started_after(tmp_path, lambda body: body)
    assert len(spool.kept_aside) == is_aside
    assert spool.streams[KEY].closed() == ([] if is_aside else [1])
    spool.close()


def test_numbers_go_on_after_everything_was_sealed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(KEY, [wide("a")])
    spool.roll(KEY)
    stream = spool.streams[KEY]
    assert stream.closed() == [1]
    stream.path(1).unlink()
    spool.close()
    again = Spool(tmp_path)
    assert again.streams[KEY].number == 2
    again.append(KEY, [wide("b")])
    again.roll(KEY)
    assert again.streams[KEY].closed() == [2]
    again.close()


def test_an_empty_segment_is_not_rolled(spool: Spool) -> None:
    spool.append(KEY, [wide("a")])
    spool.roll(KEY)
    spool.roll(KEY)
    assert spool.streams[KEY].number == 2


def test_a_full_disk_leaves_nothing_half_written(spool: Spool) -> None:
    spool.append(KEY, [wide("a")])
    stream = spool.streams[KEY]
    size = stream.size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(StorageFull, match="nothing was written"):
            spool.append(KEY, [Batch(NARROW, 1, [["lost"]])])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stream.path(1).stat().st_size == size
    spool.append(KEY, [Batch(NARROW, 1, [["b"]])])
    assert ids_of(stream.path(1)) == ["a", "b"]


@pytest.mark.parametrize(("number", "step"), [(errno.EMFILE, "ulimit -n"), (errno.EACCES, "owner and permissions")])
def test_what_to_do_follows_from_what_is_wrong(number: int, step: str, tmp_path: Path) -> None:
    told = translate(OSError(number, os.strerror(number)), tmp_path)
    assert isinstance(told, Unavailable)
    assert step in str(told.next_step)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_became_read_only_takes_nothing_and_goes_on_where_it_was(spool: Spool, number: int) -> None:
    spool.append(KEY, [wide("a")])
    with read_only(number):
        for _ in range(3):
            with pytest.raises(Unavailable, match="the spool cannot be written"):
                spool.append(KEY, [Batch(NARROW, 1, [["lost"]])])
        with pytest.raises(Unavailable):
            spool.append(StreamKey("p", "predictions", "another"), [wide("lost")])
        assert os.strerror(number) in spool.failure
        spool.probe()
        assert os.strerror(number) in spool.failure
    spool.append(KEY, [Batch(NARROW, 1, [["b"]])])
    spool.probe()
    assert spool.failure == ""
    assert [path.name for path in spool.streams[KEY].folder.iterdir()] == ["000000000001.log"]
    assert ids_of(spool.streams[KEY].path(1)) == ["a", "b"]


def test_what_was_written_in_part_is_cut_off_once_the_disk_can_be_written(spool: Spool) -> None:
    """Else the rows that come then would stand behind it, where nobody reads them."""
    spool.append(KEY, [wide("a")])
    written = os.write
    with read_only(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda handle, body: written(handle, body[:7]))
        with pytest.raises(StorageFull):
            spool.append(KEY, [Batch(NARROW, 1, [["lost"]])])
    assert spool.streams[KEY].path(1).stat().st_size == spool.streams[KEY].size + 7
    spool.append(KEY, [Batch(NARROW, 1, [["b"]])])
    assert ids_of(spool.streams[KEY].path(1)) == ["a", "b"]


def test_durable_means_the_disk_has_confirmed(spool: Spool) -> None:
    done, errors = Event(), []

    def then(why: Exception | None) -> None:
        errors.append(why)
        done.set()

    spool.when_durable(spool.append(KEY, [wide("a")]), then)
    assert done.wait(5)
    assert errors == [None]


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files and folders that were flushed, in order."""
    seen: list[str] = []

    def noting(flush: Callable[[int], None]) -> Callable[[int], None]:
        return lambda handle: (flush(handle), seen.append(str(Path(f"/proc/self/fd/{handle}").readlink())))[1]

    monkeypatch.setattr(os, "fsync", noting(os.fsync))
    monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync))
    return seen


def wait_until_durable(spool: Spool, ticket: int) -> Exception | None:
    told: SimpleQueue[Exception | None] = SimpleQueue()
    spool.when_durable(ticket, told.put)
    return told.get(timeout=30)


def test_rows_are_durable_when_their_file_has_a_name_that_outlasts_a_power_cut(
    spool: Spool, flushed: list[str]
) -> None:
    assert wait_until_durable(spool, spool.append(KEY, [wide("a")])) is None
    stream = spool.streams[KEY]
    folders = [stream.folder, *stream.folder.parents[:4]]
    assert set(map(str, [stream.path(1), *folders])) <= set(flushed)
    flushed.clear()
    spool.roll(KEY)
    assert str(stream.folder) in flushed
    spool.append(KEY, [wide("b")])
    flushed.clear()
    spool.let_go(stream, 1)
    assert wait_until_durable(spool, spool.append(KEY, [wide("c")])) is None
    assert set(flushed) == {str(stream.path(2))}, "a folder is flushed where it changed, not with every write"


def test_what_another_life_wrote_is_flushed_before_a_newer_segment_begins(tmp_path: Path, flushed: list[str]) -> None:
    before = Spool(tmp_path)
    wait_until_durable(before, before.append(KEY, [wide("a")]))
    before.close()
    flushed.clear()
    again = Spool(tmp_path)
    assert flushed[0] == str(again.streams[KEY].path(1))
    again.close()


def test_what_the_disk_did_not_confirm_is_durable_for_nobody(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for who asks after the try that failed, nor once its segment is closed."""
    spool.append(KEY, [wide("a")])
    flush = os.fdatasync

    def fail(_handle: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fdatasync", fail)
    ticket = spool.append(KEY, [wide("b")])
    with pytest.raises(OSError, match="broken"):
        spool.roll(KEY)
    assert isinstance(wait_until_durable(spool, ticket), Unavailable)
    assert isinstance(wait_until_durable(spool, ticket), Unavailable)
    monkeypatch.setattr(os, "fdatasync", flush)
    assert wait_until_durable(spool, ticket) is None


def test_a_segment_that_an_append_closes_during_a_flush_is_flushed_too(
    spool: Spool, flushed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for its rows is told that they are on the disk once this flush is through."""
    wait_until_durable(spool, spool.append(KEY, [wide("warm")]))
    stream, flush_closed = spool.streams[KEY], segments.Stream.flush_closed

    def close_another(flushing: segments.Stream) -> None:
        flush_closed(flushing)
        if flushing.number == 1:
            with monkeypatch.context() as narrow:
                narrow.setattr(segments, "MOST_CELLS", 1)
                flushing.append([wide("b")])

    stream.append([wide("a")])
    flushed.clear()
    monkeypatch.setattr(segments.Stream, "flush_closed", close_another)
    stream.flush()
    assert ids_of(stream.path(1)) == ["warm", "a"]
    assert {str(stream.path(1)), str(stream.path(2))} <= set(flushed)


def test_a_flush_that_succeeds_after_one_that_failed_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes for written what it could not write: only rows in a file that was never refused are safe."""
    flush, refused, confirmed = os.fdatasync, set[int](), dict[int, int]()
    is_broken = False

    def fdatasync(handle: int) -> None:
        status = os.fstat(handle)
        if is_broken:
            refused.add(status.st_ino)
            raise OSError(errno.EIO, "the disk is broken")
        flush(handle)
        if status.st_ino not in refused:
            confirmed[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    spool = Spool(tmp_path)
    wait_until_durable(spool, spool.append(KEY, [wide("a")]))
    is_broken = True
    assert isinstance(wait_until_durable(spool, spool.append(KEY, [wide("b")])), Unavailable)
    is_broken = False
    assert wait_until_durable(spool, spool.append(KEY, [wide("c")])) is None
    files = sorted(spool.streams[KEY].folder.iterdir())
    assert [id for path in files for id in ids_of(path)] == ["a", "b", "c"]
    for path in files:
        assert confirmed[path.stat().st_ino] == path.stat().st_size
    assert spool.strangers == []
    spool.close()


def test_what_was_refused_and_cannot_be_read_again_is_kept_for_a_person_and_holds_nobody_up(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "the disk is broken")))
        assert wait_until_durable(spool, spool.append(KEY, [wide("a")])) is not None
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "the disk is broken")))
        assert wait_until_durable(spool, spool.append(KEY, [wide("b")])) is not None, "it went where a was"
    assert spool.kept_aside == ["flights/predictions/late/000000000001.bad"]
    assert wait_until_durable(spool, spool.append(KEY, [wide("c")])) is None
    spool.roll(KEY)
    assert [ids_of(spool.streams[KEY].path(number)) for number in spool.streams[KEY].closed()] == [["c"]]


def test_an_empty_segment_of_another_life_that_the_disk_refused_takes_rows_that_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Spool(tmp_path)
    before.append(KEY, [wide("a")])
    before.roll(KEY)
    before.let_go(before.streams[KEY], 1)
    before.close()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "the disk is broken")))
        again = Spool(tmp_path)
    assert wait_until_durable(again, again.append(KEY, [wide("b")])) is None
    assert wait_until_durable(again, again.append(KEY, [wide("c")])) is None
    assert [id for path in sorted(again.streams[KEY].folder.iterdir()) for id in ids_of(path)] == ["b", "c"]
    again.close()


def test_a_file_that_was_to_take_a_segments_place_is_let_go_at_the_next_start(tmp_path: Path) -> None:
    spool = started_after(tmp_path, lambda body: body)
    spool.close()
    unfinished = spool.streams[KEY].path(1).with_suffix(".again")
    unfinished.write_bytes(b"half a segm")
    again = Spool(tmp_path)
    assert not unfinished.exists()
    assert ids_of(again.streams[KEY].path(1)) == ["a", "b", "c"]
    again.close()


def test_a_segment_that_cannot_be_flushed_anew_stays_in_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Spool(tmp_path)
    before.append(KEY, [wide("a")])
    before.close()
    opened = os.open

    def no_more_handles(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags == os.O_WRONLY:
            raise OSError(errno.EMFILE, "too many open files")
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", no_more_handles)
    again = Spool(tmp_path)
    assert (again.streams[KEY].closed(), again.kept_aside) == ([], [])
    monkeypatch.setattr(os, "open", opened)
    again.roll(KEY)
    assert (again.streams[KEY].closed(), again.kept_aside) == ([1], [])
    again.close()


@pytest.mark.parametrize("is_next_life", [False, True])
def test_what_the_disk_did_not_confirm_is_not_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_next_life: bool
) -> None:
    """A power cut would bring it back with fewer rows than its number was registered with."""
    flush, is_broken = os.fdatasync, True

    def fail(handle: int) -> None:
        if is_broken:
            raise OSError(errno.EIO, "the disk is broken")
        flush(handle)

    monkeypatch.setattr(os, "fdatasync", fail)
    spool = Spool(tmp_path)
    spool.append(KEY, [wide("a")])
    for _ in range(3):
        with pytest.raises(OSError, match="broken"):
            spool.roll(KEY)
    if is_next_life:
        spool.close()
        spool = Spool(tmp_path)
    assert spool.streams[KEY].closed() == []
    is_broken = False
    spool.append(KEY, [wide("b")])
    spool.roll(KEY)
    stream = spool.streams[KEY]
    assert [id for number in stream.closed() for id in ids_of(stream.path(number))] == ["a", "b"]
    spool.close()


def test_a_record_that_nobody_can_read_is_damage_and_keeps_no_gateway_from_starting(tmp_path: Path) -> None:
    """A child hands its columns over as MessagePack, which is written as it is."""
    spool = Spool(tmp_path / "spool")
    spool.append(KEY, [wide("a")])
    columns: Any = msgspec.Raw(b"\x91\x91\xa1\xff")  # a text that is no UTF-8
    spool.append(KEY, [Batch(NARROW, 1, columns)])
    path = spool.streams[KEY].path(1)
    spool.close()
    assert ids_of(path) == ["a"]
    assert read_segment(path).damaged_bytes
    again = Spool(tmp_path / "spool")
    again.close()
    assert ids_of(path) == ["a"]
    assert again.kept_aside == ["flights/predictions/late/000000000001.bad"]


def test_rows_that_would_make_too_large_a_frame_together_lie_in_several_segments(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the columns of all others: callers that name ever others would have the gateway run out of memory."""
    monkeypatch.setattr(segments, "MOST_CELLS", 100)
    for number in range(20):
        layout = Layout((("prediction_id", "str"), (f"f.{number}", "f64")))
        spool.append(KEY, [Batch(layout, 2, [[f"{number}a", f"{number}b"], [0.5, 0.5]])])
    spool.roll(KEY)
    stream = spool.streams[KEY]
    found = [read_segment(stream.path(number)).batches for number in stream.closed()]
    assert [batch.rows for batches in found for batch in batches] == [2] * 20
    for batches in found:
        names = {name for batch in batches for name, _ in batch.layout.columns}
        assert len(names) * sum(batch.rows for batch in batches) <= 100
    assert len(found) == 4
