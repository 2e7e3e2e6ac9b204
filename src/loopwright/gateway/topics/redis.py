"""A stream of a Redis: each message is one field with a JSON object, and stands under its id until it is trimmed."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from loopwright.gateway.topics.base import REFUSED, Message, Portion, Reading, missing_library
from loopwright.kernel.errors import Unavailable

_ANSWER_S, _CONNECT_S = 20.0, 3.0
_LEFT_BEHIND_MS = 300_000
"""What another reader of the group has not said to be done for so long is taken over."""
_LOOK_S = 30.0
_LEAST_MS = 10**12
"""Ids below were given by hand and tell no moment."""
_FIELD = b"row"


class RedisTopic:
    """A stream as one consumer of a group sees it.

    Args:
        reading: Who reads what.
    """

    def __init__(self, reading: Reading) -> None:
        try:
            import redis.asyncio as redis
        except ImportError:
            raise missing_library("redis") from None
        self._reading, self._error = reading, redis.RedisError
        self._client: Any = redis.Redis.from_url(
            reading.url, socket_timeout=_ANSWER_S, socket_connect_timeout=_CONNECT_S, health_check_interval=30
        )
        self._is_member = False
        self._pending_from: str | None = "0"
        self._looked_at = time.monotonic()
        self._counted_at: float | None = None
        self._portion = Portion()
        self._read: list[bytes] = []

    async def read(self, most: int, wait_s: float) -> Sequence[Message]:
        """Return what comes next: own messages of before a restart, those left behind by others, new ones."""
        with self._telling():
            if not await self._join():
                await asyncio.sleep(wait_s)
                return []
            most = self._portion.of(most)
            if self._pending_from is not None:
                entries = await self._read_group(self._pending_from, most)
                self._pending_from = entries[-1][0].decode() if entries else None
                if entries:
                    return self._messages(entries)
            if time.monotonic() - self._looked_at > _LOOK_S:
                self._looked_at = time.monotonic()
                if entries := await self._left_behind(most):
                    return self._messages(entries)
            lost = await self._lost()
            entries = await self._read_group(">", most, 0 if lost else wait_s)
            if len(entries) == most:  # more may wait, and be trimmed meanwhile
                self._counted_at = None
            return [*lost, *self._messages(entries)]

    async def keep(self) -> None:
        """Claim again what was read, so that it does not look left behind."""
        with self._telling():
            if self._read:
                of = self._reading
                await self._client.xclaim(of.topic, of.group, of.reader, 0, self._read, justid=True)

    async def done(self) -> None:
        """Acknowledge what was read."""
        with self._telling():
            if self._read:
                await self._client.xack(self._reading.topic, self._reading.group, *self._read)
            self._read = []

    async def refuse(self, message: Message, why: str) -> None:
        """Add a message to the stream of those that were refused."""
        with self._telling():
            said = {"row": message.body or b"", "why": why, "id": message.place}
            await self._client.xadd(self._reading.topic + REFUSED, said)

    async def close(self) -> None:
        """Let go of the connection."""
        with self._telling():
            await self._client.aclose()

    async def _join(self) -> bool:
        """Say whether this is one of the group; nobody is before the stream is there.

        Who writes to it makes it: by a declaration alone a key would come to be under any name, that of another's too.
        """
        if not self._is_member:
            try:
                await self._client.xgroup_create(self._reading.topic, self._reading.group, id="0")
            except self._error as error:
                if "requires the key to exist" in str(error):
                    return False
                if "BUSYGROUP" not in str(error):  # the group is there already
                    raise
            self._is_member = True
        return True

    async def _read_group(self, since: str, most: int, wait_s: float = 0) -> list[Any]:
        of, wait_ms = self._reading, int(wait_s * 1000) or None
        try:
            streams = await self._client.xreadgroup(of.group, of.reader, {of.topic: since}, count=most, block=wait_ms)
        except self._error as error:
            if "NOGROUP" in str(error):  # the stream was deleted; it begins anew
                self._is_member = False
            raise
        return streams[0][1] if streams else []

    async def _left_behind(self, most: int) -> list[Any]:
        of = self._reading
        found = await self._client.xautoclaim(of.topic, of.group, of.reader, _LEFT_BEHIND_MS, "0", count=most)
        _, entries, *gone = found  # Redis 7 names apart what was trimmed meanwhile, and names it once
        return [*((place, None) for places in gone for place in places), *entries]

    async def _lost(self) -> list[Message]:
        """Return a message without body where new ones were trimmed before any reader of the group had them."""
        now = time.monotonic()
        if self._counted_at is not None and now - self._counted_at < _LOOK_S:
            return []
        of, self._counted_at = self._reading, now
        async with self._client.pipeline(transaction=True) as both:
            both.xinfo_stream(of.topic)
            both.xinfo_groups(of.topic)
            stream, groups = await both.execute()
        group: dict[str, Any] = next((each for each in groups if each["name"] == of.group.encode()), {})
        added, read = stream.get("entries-added"), group.get("entries-read")
        if added is None or read is None:  # older than Redis 7, or nothing was read yet
            return []
        first, last = stream["first-entry"], group["last-delivered-id"]
        if first is not None and _order(first[0]) <= _order(last):  # what was trimmed had been read
            return []
        if added - read <= stream["length"]:
            return []
        return [Message(f"behind {last.decode()}", None, None)]

    def _messages(self, entries: Sequence[Any]) -> list[Message]:
        self._read += [place for place, _ in entries]
        messages = [_message(place, fields) for place, fields in entries]
        self._portion.saw(messages)
        return messages

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (self._error, OSError) as error:
            raise Unavailable(f"the Redis of this topic does not answer: {type(error).__name__}: {error}") from None


def _order(place: bytes) -> tuple[int, int]:
    at_ms, _, number = place.partition(b"-")
    return int(at_ms), int(number or 0)


def _message(place: bytes, fields: dict[bytes, bytes] | None) -> Message:
    at_ms, number = _order(place)
    # Of messages of one millisecond the number says which came first; a later state of a row must be known later.
    at_us = at_ms * 1000 + min(number, 999) if at_ms >= _LEAST_MS else None
    if not fields:  # it was trimmed before it was read
        return Message(place.decode(), None, at_us)
    body = next(iter(fields.values())) if len(fields) == 1 else fields.get(_FIELD, b"")
    return Message(place.decode(), body, at_us)
