"""A topic of a Kafka, or what speaks its protocol: each message's value is a JSON object."""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from loopwright.gateway.topics.base import REFUSED, Message, Portion, Reading, missing_library
from loopwright.kernel.errors import InvalidInput, Unavailable

log = logging.getLogger("loopwright.kafka")
T = TypeVar("T")
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")
"""What else stands in a name no broker takes; with ``^`` ahead the library would look for it as a pattern, and there
are patterns that take all memory of the process."""
_ANSWER_S = 20.0
_QUIET = {
    "reconnect.backoff.ms": 1_000,
    "reconnect.backoff.max.ms": 15_000,
    "log_level": 2,  # what it says of brokers that are away comes as errors too
}
_READING = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,  # says that a partition was asked, and has no more
    # What lies in memory beside what was handed over; a longer message comes all the same.
    "fetch.message.max.bytes": 1 << 20,
    "queued.max.messages.kbytes": 8 << 10,
}


class KafkaTopic:
    """A topic as one member of a consumer group sees it: its share of the partitions, each in order.

    Args:
        reading: Who reads what; settings of librdkafka may stand behind the address:
            ``kafka://user:password@host:9092,other:9092?security.protocol=sasl_ssl``.

    Raises:
        InvalidInput: No topic can have this name, or the library is missing.
    """

    def __init__(self, reading: Reading) -> None:
        try:
            import confluent_kafka
        except ImportError:
            raise missing_library("kafka") from None
        if not _TOPIC.fullmatch(reading.topic):
            rule = "letters, digits, . _ -"
            raise InvalidInput("no topic of a Kafka is called so", field="source", value=reading.topic, rule=rule)
        self._kafka, self._reading = confluent_kafka, reading
        # The library's calls wait; each topic has a thread for them, and they follow each other.
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._consumer: Any = None
        self._producer: Any = None
        self._portion = Portion()
        self._trouble: Any = None
        self._answered = False
        self._taken: dict[int, int] = {}
        self._newest: dict[int, tuple[int, int]] = {}

    async def read(self, most: int, wait_s: float) -> Sequence[Message] | None:
        """Return what comes next; None until a partition said what it has."""
        return await self._call(lambda: self._consume(most, wait_s))

    async def keep(self) -> None:
        """Tell the group that this member lives; nothing new is fetched meanwhile."""
        await self._call(self._stay)

    async def done(self) -> None:
        """Commit the offsets behind what was read, and no others."""
        await self._call(self._commit)

    async def refuse(self, message: Message, why: str) -> None:
        """Produce a message to the topic of those that were refused, and wait until it is there."""
        await self._call(lambda: self._produce(message, why))

    async def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._call(self._consumer.close)
        self._thread.shutdown(wait=False)

    def _consume(self, most: int, wait_s: float) -> list[Message] | None:
        if self._consumer is None:
            self._consumer = self._kafka.Consumer(self._settings(), logger=log)
            self._consumer.subscribe([self._reading.topic], on_assign=self._assigned)
        self._consumer.resume(self._consumer.assignment())
        found: list[Message] = []
        for each in self._consumer.consume(self._portion.of(most), wait_s):
            error = each.error()
            if error is None:
                found.append(self._message(each))
                self._taken[each.partition()] = each.offset() + 1
            elif error.code() == self._kafka.KafkaError._PARTITION_EOF:
                self._answered = True
            else:
                self._trouble = error
        if found:
            self._portion.saw(found)
            self._answered = True
            return found
        if self._trouble is not None:
            error, self._trouble = self._trouble, None
            raise self._kafka.KafkaException(error)
        return [] if self._answered else None

    def _settings(self) -> dict[str, Any]:
        of = self._reading
        return {
            "group.id": of.group,
            # After a restart it has its partitions back at once.
            "group.instance.id": f"{of.digest}-{of.reader}",
            "error_cb": self._failed,
            **_READING,
            **_QUIET,
            **_address(of.url),
        }

    def _assigned(self, _consumer: Any, partitions: Sequence[Any]) -> None:
        """Know that a member without a partition has been answered; offsets of lost partitions are others' now."""
        self._answered = self._answered or not partitions
        self._taken = {}

    def _failed(self, error: Any) -> None:
        """Keep what makes reading impossible until the next read; one broker of several may be away."""
        codes = self._kafka.KafkaError
        if error.fatal() or error.code() in (codes._ALL_BROKERS_DOWN, codes._AUTHENTICATION):
            self._trouble = error

    def _stay(self) -> None:
        self._consumer.pause(self._consumer.assignment())
        self._consumer.poll(0)

    def _commit(self) -> None:
        if not self._taken:
            return
        behind = [
            self._kafka.TopicPartition(self._reading.topic, partition, offset)
            for partition, offset in self._taken.items()
        ]
        for each in self._consumer.commit(offsets=behind, asynchronous=False):
            if each.error is not None:
                raise self._kafka.KafkaException(each.error)
        self._taken = {}

    def _produce(self, message: Message, why: str) -> None:
        if self._producer is None:
            self._producer = self._kafka.Producer(
                {"message.timeout.ms": 15_000, **_QUIET, **_address(self._reading.url)}, logger=log
            )
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

    def _message(self, given: Any) -> Message:
        kind, at_ms = given.timestamp()
        place = f"{given.partition()}/{given.offset()}"
        if not kind:
            return Message(place, given.value(), None)
        # Of messages of one millisecond the offset says which came first; a later state of a row must be known later.
        at_us, (newest_ms, newest_us) = (
            at_ms * 1000 + given.offset() % 1000,
            self._newest.get(given.partition(), (0, 0)),
        )
        if at_ms >= newest_ms:  # in the middle of one its last digits begin anew
            at_us = max(at_us, newest_us + 1)
        self._newest[given.partition()] = at_ms, at_us
        return Message(place, given.value(), at_us)

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
