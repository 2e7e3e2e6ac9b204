"""What a gateway and its children say to each other: tagged structs in MessagePack, each behind its length."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from loopwright.features import BoundView, DatasetPushSpec
from loopwright.gateway.answering.questions import Question
from loopwright.gateway.children.surroundings import Surroundings
from loopwright.gateway.log.batches import Batch, Layout
from loopwright.gateway.log.segments import MOST_CELLS
from loopwright.gateway.taking.ingest import Labels
from loopwright.serving import Release

HEAD = struct.Struct("<I")
_MOST_LAYOUTS = 256
"""How many layouts a packer remembers; callers name the features of models served elsewhere."""
_MOST_LETTERS = 500
"""Of a text that stands in every row of a batch."""


class Message(msgspec.Struct, array_like=True, tag_field="what"):
    """One message; ``number`` joins an answer to what asked for it."""

    number: int


class Load(Message, tag="load"):
    """Load a release, warm it, and answer its questions from now on.

    ``sample`` is a question that the release before has answered.
    """

    release: Release
    around: Surroundings
    sample: Question | None = None


class Ask(Message, tag="ask"):
    """Answer a question. ``base`` and ``at_us`` are its stamp; ``down`` are variants that are not to be tried.

    ``is_told``: it is answered already, and only the shadows still have to.
    """

    question: Question
    base: bytes
    at_us: int
    down: dict[int, str] = {}
    is_told: bool = False


class Settle(Message, tag="settle"):
    """Finish what the shadows owe, then say so."""


class Open(Message, tag="open"):
    """Take rows of a project's streams from now on."""

    around: Surroundings


class Target(Message, tag="target"):
    """Know a dataset that rows are pushed to; ``number`` is how pushes name it. ``personal`` is left out of the log."""

    spec: DatasetPushSpec
    views: list[BoundView]
    personal: list[str]


class Take(Message, tag="take"):
    """Take the rows of a body: labels, predictions made elsewhere, or rows of the dataset ``target``.

    ``is_logged``: an earlier child had the rows put into the log and ended before features saw them.
    """

    kind: Literal["labels", "predictions", "pushes"]
    body: bytes
    base: bytes
    at_us: int
    is_replay: bool
    labels: Labels | None = None
    personal: list[str] = []
    target: int = 0
    is_logged: bool = False


class Logged(Message, tag="logged"):
    """The rows of a push are in the log; or they are not, and why."""

    why_not: dict[str, Any] | None = None


class Loaded(Message, tag="loaded"):
    """A release is loaded and has answered; ``row_us`` is how long a row takes it, ``why_not`` that it could not."""

    row_us: int = 0
    why_not: dict[str, Any] | None = None


class Packed(msgspec.Struct, array_like=True):
    """A batch for the spool. ``layout`` comes with the first batch that has it, ``columns`` are MessagePack."""

    layout_id: int
    layout: Layout | None
    rows: int
    columns: msgspec.Raw


class Reply(msgspec.Struct, array_like=True):
    """What one question is answered: a body, or an error."""

    number: int
    body: bytes = b""
    error: dict[str, Any] | None = None


class Answers(Message, tag="answers"):
    """Questions that were answered together, and what to log before they are told.

    ``rows`` is how many rows made the batch, 0 where it failed. ``is_owing``: shadows will answer it too.
    """

    replies: list[Reply] = []
    batches: list[Packed] = []
    rows: int = 0
    is_owing: bool = False


class Taken(Message, tag="taken"):
    """Rows that are fit for the log. ``is_held``: they wait to hear that they are there.

    ``is_keyed``: labels that name their rows by key, not their predictions.
    """

    batch: Packed
    rows: int
    is_held: bool = False
    is_keyed: bool = False


class Done(Message, tag="done"):
    """A body was taken, or why not."""

    rows: int = 0
    error: dict[str, Any] | None = None


class Owed(Message, tag="owed"):
    """What shadows answered of a batch that had these ``numbers``."""

    numbers: list[int] = []
    batches: list[Packed] = []


class Settled(Message, tag="settled"):
    """The shadows owe nothing."""


ToChild = Load | Ask | Settle | Open | Target | Take | Logged
FromChild = Loaded | Answers | Owed | Settled | Taken | Done
_encoder = msgspec.msgpack.Encoder()
read_to_child = msgspec.msgpack.Decoder(ToChild)
read_from_child = msgspec.msgpack.Decoder(FromChild)
_read_columns = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def framed(message: Message) -> bytes:
    """Return a message behind its length."""
    body = _encoder.encode(message)
    return HEAD.pack(len(body)) + body


class Senseless(ValueError):
    """What no child of ours says; one that runs what a user wrote may say anything."""


class TooLong(Senseless):
    """A message that is longer than its reader takes."""


class Frames:
    """Bytes as they come in, cut into messages.

    Args:
        most_bytes: Of one message, where the other side may say anything; None for any length.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self._bytes, self._most_bytes = bytearray(), most_bytes

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take bytes and yield every message that is whole now.

        Raises:
            TooLong: One says that it is longer than allowed; nothing of it is kept.
        """
        self._bytes += piece
        begin = 0
        while len(self._bytes) - begin >= HEAD.size:
            (length,) = HEAD.unpack_from(self._bytes, begin)
            if self._most_bytes is not None and length > self._most_bytes:
                self._bytes.clear()
                raise TooLong(f"a message of {length} bytes")
            end = begin + HEAD.size + length
            if len(self._bytes) < end:
                break
            yield bytes(self._bytes[begin + HEAD.size : end])
            begin = end
        del self._bytes[:begin]


class BatchPacker:
    """Packs batches; each layout travels once."""

    def __init__(self) -> None:
        self._layouts: dict[Layout, int] = {}

    def pack(self, batches: Sequence[Batch]) -> list[Packed]:
        """Return batches as they travel."""
        return [self._pack(batch) for batch in batches]

    def _pack(self, batch: Batch) -> Packed:
        columns = msgspec.Raw(_encoder.encode(batch.columns))
        known = self._layouts.get(batch.layout)
        if known is not None:
            return Packed(known, None, batch.rows, columns)
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        self._layouts[batch.layout] = len(self._layouts)
        return Packed(len(self._layouts) - 1, batch.layout, batch.rows, columns)


class BatchUnpacker:
    """Unpacks batches; the other end of a ``BatchPacker``."""

    def __init__(self) -> None:
        self._layouts: dict[int, Layout] = {}

    def unpack(self, packed: Sequence[Packed]) -> list[Batch]:
        """Return batches for the spool, their columns as MessagePack.

        Raises:
            Senseless: One does not hold the rows and columns that it names.
        """
        batches = []
        for batch in packed:
            if batch.layout is not None:
                if not all(map(_is_small, batch.layout.constants)):
                    raise Senseless("a value for every row that is none of ours")
                self._layouts[batch.layout_id] = batch.layout
            layout = self._layouts.get(batch.layout_id)
            if layout is None or not layout.columns or _sizes(batch.columns) != [batch.rows] * len(layout.columns):
                raise Senseless("a batch of other rows or columns than it names")
            if batch.rows * len(layout.columns) > MOST_CELLS:
                raise Senseless(f"a batch of {batch.rows * len(layout.columns)} cells")
            # The spool writes what is MessagePack already as it is.
            columns: Any = batch.columns
            batches.append(Batch(layout, batch.rows, columns))
        return batches


def _is_small(constant: tuple[str, str, Any]) -> bool:
    """Say whether a value that stands in every row of a batch is a number or a short text."""
    value = constant[2]
    return isinstance(value, int | float | None) or (isinstance(value, str) and len(value) <= _MOST_LETTERS)


def _sizes(columns: msgspec.Raw) -> list[int]:
    """Return how many entries each column has; none of what are no columns."""
    try:
        return [_entries(column) for column in _read_columns(columns)]
    except msgspec.MsgspecError:
        return []


def _entries(column: msgspec.Raw) -> int:
    """Return how many entries an array of MessagePack has, by its head; -1 of what is no array."""
    head = bytes(memoryview(column)[:5])
    if head[0] & 0xF0 == 0x90:
        return head[0] & 0x0F
    return int.from_bytes(head[1 : 3 if head[0] == 0xDC else 5]) if head[0] in (0xDC, 0xDD) else -1
