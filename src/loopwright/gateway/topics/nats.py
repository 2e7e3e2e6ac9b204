"""A subject of a NATS JetStream: each message is a JSON object, and a durable consumer knows what was read."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from loopwright.gateway.topics.base import REFUSED, Message, Portion, Reading, missing_library
from loopwright.kernel.errors import InvalidInput, Unavailable

_CONNECT_S = 3.0
_ACK_WAIT_S = 60.0
"""What was read and neither kept nor done for so long goes to another reader."""


class NatsTopic:
    """A subject as one reader of a durable consumer sees it.

    Args:
        reading: Who reads what.
    """

    def __init__(self, reading: Reading) -> None:
        try:
            from nats.aio.client import Client
            from nats.errors import Error
        except ImportError:
            raise missing_library("nats") from None
        self._new_client: type[Any] = Client
        self._error, self._reading = Error, reading
        self._client: Any = None
        self._consumer: Any = None
        self._read: list[Any] = []
        self._portion = Portion()

    async def read(self, most: int, wait_s: float) -> Sequence[Message]:
        """Return what comes next."""
        with self._telling():
            await self._connect()
            try:
                came = await self._consumer.fetch(self._portion.of(most), timeout=max(wait_s, 0.05))
            except TimeoutError:
                return []
            self._read += came
            messages = [_message(each) for each in came]
            self._portion.saw(messages)
            return messages

    async def keep(self) -> None:
        """Ask for more time."""
        with self._telling():
            for each in self._read:
                await each.in_progress()

    async def done(self) -> None:
        """Acknowledge what was read, and wait until the server knows."""
        with self._telling():
            for each in self._read:
                await each.ack()
            await self._client.flush()
            self._read = []

    async def refuse(self, message: Message, why: str) -> None:
        """Publish a message under the subject of those that were refused; a stream has to take it."""
        with self._telling():
            headers = {"Loopwright-Why": " ".join(why.split()), "Loopwright-Place": message.place}
            subject = self._reading.topic + REFUSED
            await self._client.jetstream().publish(subject, message.body or b"", headers=headers)

    async def close(self) -> None:
        """Give back what is not done, and let go of the connection."""
        if self._client is not None:
            with self._telling():
                for each in self._read:
                    await each.nak()
                await self._client.flush()
            with self._telling():
                await self._client.close()

    async def _connect(self) -> None:
        if self._consumer is not None:
            return
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        client = self._new_client()
        try:
            # The library tries again for ever where nobody listens.
            async with asyncio.timeout(2 * _CONNECT_S):
                await client.connect(
                    self._reading.url, connect_timeout=_CONNECT_S, allow_reconnect=False, error_cb=_say_nothing
                )
        except BaseException:
            await client.close()  # whoever listens there and says nothing is held on to otherwise
            raise
        self._client = client
        config = ConsumerConfig(
            ack_policy=AckPolicy.EXPLICIT, ack_wait=_ACK_WAIT_S, deliver_policy=DeliverPolicy.ALL, max_deliver=-1
        )
        subject, named = self._reading.topic, f"loopwright-{self._reading.digest}"
        consumer = await self._client.jetstream().pull_subscribe(subject, durable=named, config=config)
        there = (await consumer.consumer_info()).config
        if there.filter_subject != subject or there.filter_subjects:
            step = f"delete consumer {named} of the stream that takes {subject}; what it reads is read anew"
            raise InvalidInput(
                "the consumer of this topic reads another subject",
                field="source",
                value=there.filter_subject or there.filter_subjects,
                rule=subject,
                next_step=step,
            )
        self._consumer = consumer

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (self._error, OSError) as error:
            raise Unavailable(f"the NATS of this topic does not answer: {type(error).__name__}: {error}") from None


async def _say_nothing(_error: Exception) -> None:
    """Leave it to whoever asks next to be told."""


def _message(given: Any) -> Message:
    told = given.metadata
    return Message(str(told.sequence.stream), given.data, int(told.timestamp.timestamp() * 1_000_000))
