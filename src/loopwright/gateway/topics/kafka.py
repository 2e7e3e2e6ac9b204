"""A topic of a Kafka, or what speaks its protocol: each message's value is a JSON object."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from loopwright.gateway.topics.base import REFUSED, Message, Reading, missing_library
from loopwright.kernel.errors import Unavailable

log = logging.getLogger("loopwright.kafka")
T = TypeVar("T")
_ANSWER_S = 20.0


class KafkaTopic:
    """A topic as one member of a consumer group sees it: its share of the partitions, each in order.

    Args:
        reading: Who reads what; settings of librdkafka may stand behind the address:
            ``kafka://user:password@host:9092,other:9092?security.protocol=sasl_ssl``.
    """

    def __init__(self, reading: Reading) -> None:
        try:
            import confluent_kafka
        except ImportError:
            raise missing_library("kafka") from None
        self._kafka, self._reading = confluent_kafka, reading
        # The library's calls wait; each topic has a thread for them, and they follow each other.
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._consumer: Any = None
        self._producer: Any = None

    async def read(self, most: int, wait_s: float) -> Sequence[Message]:
        """Return what comes next."""
        return await self._call(lambda: self._consume(most, wait_s))

    async def keep(self) -> None:
        """Tell the group that this member lives; nothing new is fetched meanwhile."""
        await self._call(self._stay)

    async def done(self) -> None:
        """Commit the offsets of what was read."""
        await self._call(self._commit)

    async def refuse(self, message: Message, why: str) -> None:
        """Produce a message to the topic of those that were refused, and wait until it is there."""
        await self._call(lambda: self._produce(message, why))

    async def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._call(self._consumer.close)
        self._thread.shutdown(wait=False)

    def _consume(self, most: int, wait_s: float) -> list[Message]:
        if self._consumer is None:
            self._consumer = self._kafka.Consumer(
                {
                    "group.id": self._reading.group,
                    # After a restart it has its partitions back at once.
                    "group.instance.id": f"{self._reading.digest}-{self._reading.reader}",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    **_address(self._reading.url),
                },
                logger=log,
            )
            self._consumer.subscribe([self._reading.topic])
        self._consumer.resume(self._consumer.assignment())
        found: list[Message] = []
        for each in self._consumer.consume(most, wait_s):
            if (error := each.error()) is not None:
                if error.code() in (self._kafka.KafkaError._PARTITION_EOF,):
                    continue
                if found:  # it is told again
                    break
                raise self._kafka.KafkaException(error)
            found.append(_message(each))
        return found

    def _stay(self) -> None:
        self._consumer.pause(self._consumer.assignment())
        self._consumer.poll(0)

    def _commit(self) -> None:
        try:
            self._consumer.commit(asynchronous=False)
        except self._kafka.KafkaException as error:
            if error.args[0].code() != self._kafka.KafkaError._NO_OFFSET:  # nothing new was read
                raise

    def _produce(self, message: Message, why: str) -> None:
        if self._producer is None:
            self._producer = self._kafka.Producer(_address(self._reading.url), logger=log)
        failed: list[Any] = []
        headers = {"loopwright-why": why.encode(), "loopwright-place": message.place.encode()}
        self._producer.produce(
            self._reading.topic + REFUSED,
            message.body,
            headers=headers,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        if self._producer.flush(_ANSWER_S) or failed:
            raise Unavailable(f"{self._reading.topic}{REFUSED} takes no message: {failed or 'it does not answer'}")

    async def _call(self, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except self._kafka.KafkaException as error:
            raise Unavailable(f"the Kafka of this topic does not answer: {error.args[0]}") from None


def _address(url: str) -> dict[str, str]:
    """Return the settings that an address stands for."""
    parts = urlsplit(url)
    account, _, hosts = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    settings = {"bootstrap.servers": hosts, **dict(parse_qsl(parts.query))}
    if account:
        settings = {
            "security.protocol": "sasl_plaintext",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": unquote(user),
            "sasl.password": unquote(password),
            **settings,
        }
    return settings


def _message(given: Any) -> Message:
    kind, at_ms = given.timestamp()
    at_us = at_ms * 1000 if kind else None
    return Message(f"{given.partition()}/{given.offset()}", given.value(), at_us)
