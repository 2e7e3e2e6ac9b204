"""A child as its gateway hears it: it runs what a user wrote, and may say anything."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from loopwright.gateway.children import messages
from loopwright.gateway.children.child import MOST_MESSAGE_BYTES, Child
from loopwright.gateway.children.messages import HEAD, BatchPacker, BatchUnpacker, Owed, Packed, Settled, framed
from loopwright.gateway.log.batches import Batch, Layout


async def listening() -> tuple[Any, list[Any], list[int]]:
    """Return a child that is listened to, what was heard of it, and what was killed."""
    heard: list[Any] = []
    killed: list[int] = []
    child = Child(SimpleNamespace(kill=killed.append), heard.append, lambda *_: None)  # type: ignore[arg-type]
    return child, heard, killed


@pytest.mark.parametrize("said", [HEAD.pack(MOST_MESSAGE_BYTES + 1), HEAD.pack(1) + b"\xc1", HEAD.pack(2) + b"[]"])
def test_what_makes_no_sense_or_would_fill_the_gateway_ends_the_child(said: bytes) -> None:
    """Nothing is kept of it, and nothing more is heard: the gateway answers for other projects too."""

    async def play() -> None:
        child, heard, killed = await listening()
        child.data_received(framed(Settled(1)) + said)
        child.data_received(framed(Settled(2)))
        assert heard == [Settled(1)]
        assert killed == [0]

    asyncio.run(play())


IDS = Layout((("prediction_id", "str"), ("score", "f64")), (("release", "i64", 1),))
LONG = Layout(IDS.columns, (("variant", "str", "x" * 501),))


def packed(layout: Layout | None, rows: int, columns: Any) -> Packed:
    return Packed(0, layout, rows, msgspec.Raw(msgspec.msgpack.encode(columns)))


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 70_000])
def test_what_was_packed_is_unpacked(rows: int) -> None:
    batch = Batch(IDS, rows, [["a"] * rows, [0.5] * rows])
    [unpacked] = BatchUnpacker().unpack(BatchPacker().pack([batch]))
    assert unpacked[:2] == (IDS, rows)
    assert msgspec.msgpack.decode(unpacked.columns) == batch.columns  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "batch",
    [
        packed(IDS, 1 << 40, [["a"], [0.5]]),
        packed(IDS, -1, [["a"], [0.5]]),
        packed(IDS, 1, [["a"]]),
        packed(IDS, 1, [["a"], [0.5], [1]]),
        packed(IDS, 1, [["a"], 0.5]),
        packed(IDS, 2, ["ab", [0.5, 0.5]]),
        packed(IDS, 1, {"prediction_id": ["a"]}),
        packed(Layout((), IDS.constants), 1 << 40, []),
        packed(LONG, 1, [["a"], [0.5]]),
        packed(None, 1, [["a"], [0.5]]),
        packed(IDS, 40, [["a"] * 40, [0.5] * 40]),
    ],
)
def test_a_batch_that_is_not_what_it_says_or_too_large_ends_the_child(
    batch: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are counted before memory is taken for them, which would be so again after each start of the gateway."""
    monkeypatch.setattr(messages, "MOST_CELLS", 79)

    async def play() -> None:
        child, _, killed = await listening()
        child._on_message = lambda message: BatchUnpacker().unpack(message.batches)
        child.data_received(framed(Owed(0, [], [batch])))
        assert killed == [0]

    asyncio.run(play())
