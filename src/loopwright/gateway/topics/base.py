"""What a topic of a broker is to whoever reads it, and how one is opened."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import add_built_in, load_plugin, plugin_names

add_built_in(
    "brokers",
    {
        "kafka": "loopwright.gateway.topics.kafka:KafkaTopic",
        "nats": "loopwright.gateway.topics.nats:NatsTopic",
        "redis": "loopwright.gateway.topics.redis:RedisTopic",
        "rediss": "loopwright.gateway.topics.redis:RedisTopic",
    },
)
REFUSED = ".refused"
"""Behind a topic's name: where messages go that are no rows of the dataset."""

_PORTION_BYTES, _FIRST_PORTION = 4 << 20, 4


class Portion:
    """How many messages to ask for: few at first, more while they are small, one by one while they are large."""

    def __init__(self) -> None:
        self._count = _FIRST_PORTION

    def of(self, most: int) -> int:
        """Return how many to ask for, where somebody wants so many at most."""
        return min(most, self._count)

    def saw(self, messages: Sequence["Message"]) -> None:
        """Learn from what came: the largest message tells how many of them may come together."""
        if messages:
            largest = max(len(each.body or b"") for each in messages)
            self._count = max(1, min(2 * self._count, _PORTION_BYTES // max(1, largest)))


class Message(NamedTuple):
    """One message.

    Args:
        place: How the broker names it within its topic.
        body: What it says; None where the broker no longer has it.
        at_us: When the broker took it, microseconds UTC; None where it does not say.
    """

    place: str
    body: bytes | None
    at_us: int | None


class Reading(NamedTuple):
    """Who reads which topic.

    Args:
        url: Where the broker is.
        topic: Its name there.
        group: Those who read it together: each message goes to one of them.
        reader: Which of them this is; after a restart it has the same name.
    """

    url: str
    topic: str
    group: str
    reader: str

    @property
    def digest(self) -> str:
        """Group and topic in letters that every broker allows in a name."""
        return sha256(f"{self.group}\0{self.topic}".encode()).hexdigest()[:20]


class Topic(Protocol):
    """A topic as one reader sees it. What a broker's library raises is raised as ``Unavailable``, without credentials.

    A plugin of kind ``brokers``, named like the scheme of its address, is a class that is made of a ``Reading``.
    """

    async def read(self, most: int, wait_s: float) -> Sequence[Message] | None:
        """Return what comes next, in order; nothing where nothing comes meanwhile; None where no broker answered yet.

        What was read before and not said to be ``done`` comes first where this reader was started anew.
        """

    async def keep(self) -> None:
        """Tell the broker that this reader is still at work with what it has read."""

    async def done(self) -> None:
        """Never have what was read so far come again."""

    async def refuse(self, message: Message, why: str) -> None:
        """Put a message where refused ones go: into the topic with ``REFUSED`` behind its name."""

    async def close(self) -> None:
        """Let go of the broker."""


def open_topic(reading: Reading) -> Topic:
    """Return a topic; nothing is asked of its broker yet.

    Raises:
        InvalidInput: No plugin knows the address, or the broker's library is missing.
    """
    scheme = urlsplit(reading.url).scheme
    if scheme not in plugin_names("brokers"):
        rule = f"an address that begins with one of {', '.join(f'{name}://' for name in plugin_names('brokers'))}"
        raise InvalidInput("no such broker is known", field="LOOPWRIGHT_SOURCES", value=f"{scheme}://", rule=rule)
    topic: Topic = load_plugin("brokers", scheme)(reading)
    return topic


def missing_library(extra: str) -> InvalidInput:
    """Return what is told where the library of a broker is not installed."""
    step = f"install loopwright[{extra}] where the gateway runs"
    return InvalidInput(f"the library for {extra} is not installed", field="LOOPWRIGHT_SOURCES", next_step=step)
