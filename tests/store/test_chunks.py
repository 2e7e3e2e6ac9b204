"""Chunks: sending one again is harmless, and an id finds the chunk whose range holds it."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.store import sql
from loopwright.store.engine import Database
from loopwright.store.garbage.pins import named_blobs
from loopwright.store.types import Chunk, StoredChunk


@pytest.fixture
def call(dispatcher: Dispatcher) -> Callable[..., Any]:
    """Call as one of the platform's own processes."""
    return lambda verb, /, **args: dispatcher.call(verb, args, actor=SERVICE_ACTOR, project="flights")


@pytest.fixture
def register(call: Callable[..., Any]) -> Callable[..., Any]:
    def one(**changed: Any) -> Any:
        values = {
            "kind": "predictions",
            "stream": "late",
            "writer": "gateway-0",
            "seq": 1,
            "digest": "a" * 64,
            "rows": 3,
        }
        values |= {"size_bytes": 10, "id_first": "01A", "id_last": "01C", "event_at_min": 10, "event_at_max": 20}
        [found] = call("chunks.register", chunks=[{**values, **changed}])
        return found

    return one


def test_sending_a_chunk_again_returns_the_first(register: Callable[..., Any], call: Callable[..., Any]) -> None:
    first = register()
    assert register() == register(digest="b" * 64, size_bytes=11) == first
    assert call("chunks.find", kind="predictions") == [first]
    assert register(seq=2).chunk_id != first.chunk_id
    assert register(stream="other").chunk_id != first.chunk_id


def test_no_writer_takes_the_number_of_a_merged_chunk(register: Callable[..., Any], call: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(seq=-1)
    assert (refused.value.field, refused.value.value) == ("seq", "-1")
    assert call("chunks.find", kind="predictions") == []


@pytest.mark.parametrize("changed", [{"rows": 2}, {"id_first": "01B"}, {"id_last": "01D"}])
def test_other_rows_under_the_same_number_are_refused(
    register: Callable[..., Any], call: Callable[..., Any], changed: dict[str, Any]
) -> None:
    first = register()
    with pytest.raises(Conflict, match="other rows under this number"):
        register(digest="b" * 64, **changed)
    assert call("chunks.find", kind="predictions") == [first]


def test_several_are_recorded_together_or_not_at_all(register: Callable[..., Any], call: Callable[..., Any]) -> None:
    first = register()
    told = {name: value for name, value in to_builtins(first).items() if name in StoredChunk.__struct_fields__}
    both = call("chunks.register", chunks=[told, {**told, "stream": "other"}])
    assert both[0] == first
    assert call("chunks.find", kind="predictions", stream="other") == both[1:]
    with pytest.raises(Conflict, match="other rows under this number"):
        call("chunks.register", chunks=[{**told, "seq": 2}, {**told, "rows": 2}])
    assert call("chunks.find", kind="predictions", stream="late") == [first]


def test_a_chunk_is_found_by_id_time_and_stream(register: Callable[..., Any], call: Callable[..., Any]) -> None:
    one = register(seq=1)
    two = register(seq=2, id_first="01D", id_last="01F", event_at_min=21, event_at_max=30)
    assert call("chunks.find", kind="predictions", item_id="01B") == [one]
    assert call("chunks.find", kind="predictions", item_id="01F") == [two]
    assert call("chunks.find", kind="predictions", start_at=20, end_at=21) == [one]
    assert call("chunks.find", kind="predictions", start_at=21) == [two]
    assert call("chunks.find", kind="labels") == call("chunks.find", kind="predictions", stream="other") == []


def test_ids_are_compared_letter_by_letter(register: Callable[..., Any], call: Callable[..., Any]) -> None:
    mixed = register(id_first="B-1", id_last="a-1")  # as Python sorts; a locale would put "a" before "B"
    for item in ("B-1", "C", "Z9", "_x", "a", "a-1"):
        assert call("chunks.find", kind="predictions", item_id=item) == [mixed]
    assert call("chunks.find", kind="predictions", item_id="b") == []


def test_a_chunk_keeps_its_blob(register: Callable[..., Any], dispatcher: Dispatcher) -> None:
    register()
    with dispatcher.database.reading() as connection:
        assert sql.find_blob(connection, "flights", "a" * 64) is not None
        assert sql.find_blob(connection, "other", "a" * 64) is None


def test_chunks_of_every_length_are_found_by_time_and_by_id(
    register: Callable[..., Any], call: Callable[..., Any]
) -> None:
    """Against looking at each one: long ones begin long before the stretch that they meet."""
    chance = random.Random(7)
    known = []
    for seq in range(1, 60):
        begin, length = chance.randrange(10**9), chance.choice([0, 3, 20, 5_000, 10**6, 10**8])
        first, last = sorted("".join(chance.choices("0123", k=5)) for _ in range(2))
        times = {"event_at_min": begin, "event_at_max": begin + length}
        known.append(register(seq=seq, id_first=f"01{first}", id_last=f"01{last}", **times))
    for _ in range(30):
        start_at, end_at = sorted(chance.randrange(-10, 10**9 + 10**8) for _ in range(2))
        expected = [chunk for chunk in known if chunk.event_at_max >= start_at and chunk.event_at_min < end_at]
        asked = {"kind": "predictions", "stream": "late", "start_at": start_at, "end_at": end_at}
        assert by_id(call("chunks.find", **asked)) == by_id(expected)
        del asked["end_at"]
        expected = [chunk for chunk in known if chunk.event_at_max >= start_at]
        assert by_id(call("chunks.find", **asked)) == by_id(expected)
        item_id = "01" + "".join(chance.choices("0123", k=5))
        expected = [chunk for chunk in known if chunk.id_first <= item_id <= chunk.id_last]
        assert by_id(call("chunks.find", kind="predictions", item_id=item_id)) == by_id(expected)
    assert by_id(call("chunks.find", kind="predictions", stream="late")) == by_id(known)


def by_id(chunks: list[Chunk]) -> list[str]:
    return sorted(chunk.chunk_id for chunk in chunks)


def test_what_was_stored_since_a_moment_is_found(
    register: Callable[..., Any], call: Callable[..., Any], wall: FixedClock
) -> None:
    register()
    wall.at_us += 10
    second = register(seq=2)
    asked = {"kind": "predictions", "stream": "late", "recorded_since": wall.at_us}
    assert call("chunks.find", **asked) == [second]
    assert call("chunks.find", **{**asked, "recorded_since": wall.at_us + 1}) == []


def test_what_is_known_of_a_chunks_rows_is_a_blob_that_lives_as_long_as_the_chunk(
    register: Callable[..., Any], call: Callable[..., Any], database: Database
) -> None:
    chunk, profile = register(), {"digest": "c" * 64, "size_bytes": 7}
    assert chunk.profile_digest == ""
    assert call("chunks.set_profile", chunk_id=chunk.chunk_id, profile=profile)
    assert call("chunks.find", kind="predictions") == [msgspec.structs.replace(chunk, profile_digest="c" * 64)]
    assert register().profile_digest == "c" * 64  # sent again, it is the same chunk
    with database.reading() as connection:
        assert named_blobs(connection)[bytes.fromhex("c" * 64)] == "chunks of streams"

    merged = register(seq=2, digest="d" * 64, id_first="01D", id_last="01F")
    told = {**to_builtins(StoredChunk(**{name: getattr(merged, name) for name in StoredChunk.__struct_fields__}))}
    told |= {"seq": 1, "digest": "e" * 64, "rows": 6, "id_first": "01A", "id_last": "01F"}
    into = call("chunks.merge", merged=told, level=1, chunk_ids=[chunk.chunk_id, merged.chunk_id])
    assert into.profile_digest == ""  # counted anew
    assert not call("chunks.set_profile", chunk_id=chunk.chunk_id, profile=profile)
    with database.reading() as connection:
        assert bytes.fromhex("c" * 64) not in named_blobs(connection)


def test_labels_are_found_by_what_they_tell_of_whenever_they_came(
    register: Callable[..., Any], call: Callable[..., Any]
) -> None:
    """Against looking at each chunk; what does not say of what it tells is found by its time, as of old."""
    chance = random.Random(7)
    known = []
    for seq in range(1, 60):
        first, last = sorted("01" + "".join(chance.choices("0123", k=chance.choice([2, 5]))) for _ in range(2))
        told = {"about_first": first, "about_last": last} if seq % 10 else {}
        times = {"event_at_min": seq * 10, "event_at_max": seq * 10 + 9}
        known.append(register(kind="labels", seq=seq, **times, **told))
        register(kind="labels", stream="other", seq=seq, **times, **told)
    for _ in range(30):
        ids = [tuple(sorted("01" + "".join(chance.choices("0123", k=5)) for _ in range(2))) for _ in range(2)]
        asked = {"stream": "late", "ids": ids, "start_at": chance.randrange(600)}
        expected = [
            chunk
            for chunk in known
            if (
                any(chunk.about_first <= last and chunk.about_last >= first for first, last in ids)
                if chunk.about_first
                else chunk.event_at_max >= asked["start_at"]
            )
        ]
        assert by_id(call("chunks.find_labels", **asked)) == by_id(expected)
        until = [chunk for chunk in expected if chunk.event_at_min < 300]
        assert by_id(call("chunks.find_labels", **asked, end_at=300)) == by_id(until)
    assert call("chunks.find_labels", stream="late", ids=[], start_at=0) == []
