"""Requests that come again under the same ``Idempotency-Key``: they get the first answer, and add no row.

What is remembered lives in memory: it is bounded, and a restart forgets it. A request whose first attempt failed on our
side is answered anew, under the ids that were settled then, so that readers of the log count its rows once even where
the first attempt came as far as the log. After a restart, and at another gateway, that holds for keys that name their
moment: their ids follow from the key and the request.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from loopwright.gateway.stamps import Stamp
from loopwright.kernel.clock import Clock
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError
from loopwright.wire.bodies import Headers

KEPT_S = 3600.0
"""How long an answer is remembered, unless newer ones need its room."""
MOST_KEYS = 20_000
MOST_BYTES = 64 << 20
"""How many answers are remembered, and how much they may take together; the project that has most gives way."""
LONGEST_KEY = 255
_OVERHEAD_BYTES = 500
Work = Callable[[Stamp | None], Awaitable[bytes]]


class Call(NamedTuple):
    """What a caller asked for under a key: the project, the key, and what is to be done to what."""

    project: str
    key: str
    what: str


@dataclass
class Kept:
    """A call that is under way, was answered, or failed; in the last case only its ids are settled."""

    digest: bytes
    stamp: Stamp
    at: float
    under_way: "asyncio.Task[bytes] | None" = None
    answer: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return _OVERHEAD_BYTES + len(self.answer or b"")


@dataclass
class _Share:
    """What is remembered of one project: where, the oldest first, and how much it takes."""

    places: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    size_bytes: int = 0


def key_of(headers: Headers) -> str | None:
    """Return the key of a request; None where it has none.

    Raises:
        InvalidInput: It is empty, too long, or no plain text.
    """
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    key = given.decode("latin-1")
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        rule = f"1 to {LONGEST_KEY} printable letters of ASCII"
        raise InvalidInput("this cannot be an idempotency key", field="Idempotency-Key", value=key[:80], rule=rule)
    return key


class Once:
    """Remembers what was answered under which key.

    Args:
        clock: Wall time, by which ids are made.
        most_keys: How many answers are remembered.
        most_bytes: How much they may take together.
    """

    def __init__(self, clock: Clock, most_keys: int = MOST_KEYS, most_bytes: int = MOST_BYTES) -> None:
        self._clock, self._most_keys, self._most_bytes = clock, most_keys, most_bytes
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._of: dict[str, _Share] = {}
        self._bytes = 0

    async def answer(self, call: Call, body: bytes, work: Work) -> bytes:
        """Return the answer of a call, of the first time where it comes again.

        Args:
            call: What is asked for, under which key.
            body: The request's body.
            work: Does it, with the ids that are settled for it.

        Raises:
            Conflict: The key belongs to another request.
            LoopwrightError: What the work raised.
        """
        place = (call.project, call.key)
        digest = hashlib.sha256(call.what.encode() + b"\0" + body).digest()
        kept = self._kept.get(place)
        if kept is None:
            kept = self._kept[place] = Kept(digest, self._stamp(call, digest), time.monotonic())
            self._of.setdefault(call.project, _Share()).places[place] = None
            self._add(call.project, kept.size_bytes)
            self._forget_oldest()
        elif kept.digest != digest:
            raise Conflict(
                "this idempotency key belongs to another request",
                field="Idempotency-Key",
                value=call.key,
                rule="one key, one request: the same address and the same body",
                next_step="send a new key with a new request",
            )
        if kept.answer is not None:
            return kept.answer
        if kept.under_way is None:
            kept.under_way = asyncio.ensure_future(self._work(place, kept, work))
        # Whoever sent it first may hang up; whoever sent it again waits for the same answer.
        return await asyncio.shield(kept.under_way)

    def _stamp(self, call: Call, digest: bytes) -> Stamp:
        return Stamp.of_request(call.project, call.key, digest, self._clock.now_us())

    async def _work(self, place: tuple[str, str], kept: Kept, work: Work) -> bytes:
        try:
            answer = await work(kept.stamp)
        except LoopwrightError as error:
            if error.http_status < 500:  # nothing was taken, so the key is free for the request as it was meant
                self._forget(place, kept)
            raise
        finally:
            kept.under_way = None
        if self._kept.get(place) is kept:
            self._add(place[0], len(answer))
        kept.answer = answer
        self._forget_oldest()
        return answer

    def _forget_oldest(self) -> None:
        """Forget what is too old, and where there is too much, the oldest of the project that has most of it."""
        now = time.monotonic()
        while self._kept:
            place, kept = next(iter(self._kept.items()))
            if now - kept.at <= KEPT_S:
                if len(self._kept) > self._most_keys:
                    place = next(iter(max(self._of.values(), key=lambda share: len(share.places)).places))
                elif self._bytes > self._most_bytes:
                    place = next(iter(max(self._of.values(), key=lambda share: share.size_bytes).places))
                else:
                    return
                kept = self._kept[place]
            # What is under way ends within its budget, and admission bounds how much of it there can be.
            if kept.under_way is not None:
                return
            self._forget(place, kept)

    def _forget(self, place: tuple[str, str], kept: Kept) -> None:
        if self._kept.get(place) is kept:
            del self._kept[place]
            del self._of[place[0]].places[place]
            self._add(place[0], -kept.size_bytes)
            if not self._of[place[0]].places:
                del self._of[place[0]]

    def _add(self, project: str, size_bytes: int) -> None:
        self._bytes += size_bytes
        self._of[project].size_bytes += size_bytes
