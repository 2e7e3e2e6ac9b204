"""Following one topic: what it says is pushed, in order, and comes again until it was taken.

A message is done once its row is in the log and in the features. Whoever dies between gets it again, and so may push it
twice: a row is known by its key, so it counts once in features and in the versions that the dataset makes of pushes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from loopwright.data import SourceSpec
from loopwright.gateway.releases.known import Name
from loopwright.gateway.topics.base import REFUSED, Message, Topic
from loopwright.gateway.troubles import Sign
from loopwright.kernel.backoff import backoff_s
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, LoopwrightError, NotFound, StepFailed, TooLarge, Unavailable

log = logging.getLogger("loopwright.gateway")
MOST_MESSAGES, MOST_BYTES = 200, 256 << 10
"""Messages that are pushed together, and how long one may be."""
READ_S = 1.0
"""How long is waited for messages before it is looked whether anything changed."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
TOLD_AFTER_S = 30.0
"""What fails for so long is told; brokers and stores restart."""
_CLOSE_S = 30.0
"""How long is waited for a broker to be let go of."""
REFUSED_TOLD_S = 24 * 3600.0
"""How long it is told that messages were refused, after the last one."""
_NO_ANSWER = Unavailable("the broker has not said yet what there is")
_THEIRS = (InvalidInput, StepFailed, TooLarge)
"""Errors that one of the rows is to blame for; others pass, and the rows wait."""
_read_row = msgspec.json.Decoder(dict[str, Any])
Push = Callable[[str, str, bytes], Awaitable[int]]
_Rows = Sequence[tuple[Message, bytes]]
"""Messages, and the row of each as JSON."""


class _Refusal(NamedTuple):
    """The first message that was refused of late, and why; and when the last one was (monotonic seconds)."""

    place: str
    why: str
    last_at: float


class Follower:
    """Reads the topic of one dataset and pushes its rows.

    Args:
        dataset: Project and dataset.
        source: Its declaration.
        open_topic: Opens the topic, which is not asked yet.
        push: Takes rows of a dataset as a request's body.
        now_us: Wall time, microseconds UTC, for messages that tell none.
    """

    def __init__(
        self,
        dataset: Name,
        source: SourceSpec,
        open_topic: Callable[[], Topic],
        push: Push,
        now_us: Callable[[], int],
    ) -> None:
        self.source, self.rows = source, 0
        self._dataset, self._open, self._push, self._now_us = dataset, open_topic, push, now_us
        self._fails_since: float | None = None
        self._why = ""
        self._refused: _Refusal | None = None
        self._lost = 0
        self._stopped, self.is_closing = False, False

    async def run(self) -> None:
        """Follow the topic until stopped or cancelled, or until its dataset is no more."""
        tries = 0
        while True:
            self._heed()
            try:
                await self._follow()
            except NotFound:
                return
            except LoopwrightError as error:
                self._fail(error)
            except Exception as error:  # a broker's library has more errors than it tells of
                log.exception("%s cannot be read", self.source.location)
                self._fail(error)
            await asyncio.sleep(backoff_s(tries, _FIRST_PAUSE_S, _LONGEST_PAUSE_S))
            tries = 0 if self._fails_since is None else tries + 1

    def stop(self) -> None:
        """Follow no longer than this round; cancelling is faster, but a broker's library may swallow it."""
        self._stopped = True

    def signs(self) -> Iterator[Sign]:
        """Yield what somebody should know."""
        project, dataset = self._dataset
        where = f"topic {self.source.location} of {project}/{dataset}"
        now = time.monotonic()
        if self._fails_since is not None and now - self._fails_since > TOLD_AFTER_S:
            yield Sign("topic", f"{where} cannot be read: {self._why}", project)
        if self._refused is not None and now - self._refused.last_at < REFUSED_TOLD_S:
            place, why, _ = self._refused
            step = f"correct whoever writes it, and add what lies in {self._name}{REFUSED} again"
            message = f"{where} has messages that are no rows, such as {place}: {why}"
            yield Sign("topic", message, project, next_step=step)
        if self._lost:
            step = "keep messages for longer than this gateway may be down; append the rows that are missing"
            yield Sign("topic", f"{where} lost messages before they were read", project, next_step=step)

    @property
    def _name(self) -> str:
        return self.source.location.partition("/")[2]

    def _heed(self) -> None:
        if self._stopped:
            raise asyncio.CancelledError

    async def _follow(self) -> None:
        topic, self.is_closing = self._open(), False
        try:
            while True:
                self._heed()
                messages = await topic.read(MOST_MESSAGES, READ_S)
                if messages is None:
                    self._fail(_NO_ANSWER, is_guess=True)
                    continue
                if messages:
                    await self._take(topic, messages)
                    await topic.done()
                self._fails_since = None
        finally:
            self.is_closing = True
            with suppress(LoopwrightError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await asyncio.shield(topic.close())

    async def _take(self, topic: Topic, messages: Sequence[Message]) -> None:
        """Push what messages say; those that are no rows are refused."""
        rows: list[tuple[Message, bytes]] = []
        for message in messages:
            if message.body is None:
                self._lost += 1
                continue
            if len(message.body) > MOST_BYTES:
                # Whole it may be as long as the broker lets it be, which takes no word beside it then.
                beginning = message._replace(body=message.body[:MOST_BYTES])
                why = f"a row takes {MOST_BYTES >> 10} kB at most, and so much of it lies there"
                await self._refuse(topic, beginning, why)
                continue
            try:
                rows.append((message, self._row_of(message)))
            except LoopwrightError as error:
                await self._refuse(topic, message, str(error))
            except Exception as error:  # noqa: BLE001 - such as one nested a thousand deep; others are taken
                await self._refuse(topic, message, f"this is no JSON object: {str(error) or type(error).__name__}")
        if rows:
            await self._push_rows(topic, rows)

    def _row_of(self, message: Message) -> bytes:
        row = _read_row.decode(message.body or b"")
        if self.source.arrived:
            row[self.source.arrived] = self._now_us() if message.at_us is None else message.at_us
        return to_json(row)

    async def _push_rows(self, topic: Topic, rows: _Rows) -> None:
        """Push rows together; where they are not taken because of one of them, in halves."""
        body, tries = b'{"rows":[%s]}' % b",".join(row for _, row in rows), 0
        while True:
            self._heed()
            try:
                self.rows += await self._push(*self._dataset, body)
            except NotFound:
                raise
            except RecursionError as error:
                await self._split(topic, rows, error)
                return
            except LoopwrightError as error:
                if isinstance(error, _THEIRS):
                    await self._split(topic, rows, error)
                    return
                # Not theirs: features or the log take nothing at the moment.
                self._fail(error)
                await asyncio.sleep(backoff_s(tries, _FIRST_PAUSE_S, _LONGEST_PAUSE_S))
                await topic.keep()
                tries += 1
            else:
                return

    async def _split(self, topic: Topic, rows: _Rows, error: Exception) -> None:
        if len(rows) == 1:
            await self._refuse(topic, rows[0][0], str(error))
            return
        half = len(rows) // 2
        await self._push_rows(topic, rows[:half])
        await self._push_rows(topic, rows[half:])

    async def _refuse(self, topic: Topic, message: Message, why: str) -> None:
        await topic.refuse(message, why)
        first = self._refused or _Refusal(message.place, why, 0.0)
        self._refused = first._replace(last_at=time.monotonic())

    def _fail(self, error: Exception, *, is_guess: bool = False) -> None:
        if self._fails_since is None:
            self._fails_since = time.monotonic()
        elif is_guess:  # what was told before says more
            return
        self._why = error.message if isinstance(error, LoopwrightError) else type(error).__name__
