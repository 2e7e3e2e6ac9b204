"""Reaching the Redis of online stores: a client for an address, and its errors in words of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from loopwright.features.online import generations
from loopwright.features.online.base import OF_STORE, lost_meanwhile
from loopwright.features.online.redis_scripts import MOST_BYTES
from loopwright.kernel.errors import InvalidInput, LoopwrightError, StorageFull, Unavailable

_ANSWER_S, _CONNECT_S = 10.0, 3.0


class TooMuch(Unavailable):
    """More was asked of one script than it does; less at a time may be taken."""


def client_of(address: str, answer_s: float = _ANSWER_S, tries: int = 3) -> Any:
    """Return a client that connects when it is first used.

    Args:
        address: Of the Redis.
        answer_s: How long each answer may take; ten seconds at most.
        tries: How often a command is sent that is not answered.

    Raises:
        InvalidInput: The library is missing.
    """
    try:
        import redis
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry
    except ImportError:
        step = "pip install 'loopwright[redis]'"
        raise InvalidInput("the library of Redis is missing", value=shown(address), next_step=step) from None
    return redis.Redis.from_url(
        address,
        socket_timeout=min(_ANSWER_S, answer_s),
        socket_connect_timeout=min(_CONNECT_S, answer_s),
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), tries - 1),
        protocol=2,
    )


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Raise what the library raises as errors of ours.

    Raises:
        StorageFull: Redis has no room.
        Unavailable: It does not answer, or another fill began or all it held was lost meanwhile.
    """
    from redis import exceptions

    try:
        yield
    except exceptions.RedisError as error:
        raise _our_own(error, address) from None


def _our_own(error: Exception, address: str) -> LoopwrightError:
    message = str(error)
    if "OVERTAKEN" in message:
        return generations.overtaken(message.rpartition("OVERTAKEN ")[2].split()[0])
    if "RENAMED" in message:
        return lost_meanwhile()
    if "TOOMUCH" in message:
        return TooMuch(
            "more is kept of these features than a Redis reads at once",
            value=shown(address),
            rule=f"{MOST_BYTES >> 20} MB of one entity, which may be one of too many rows",
            details=OF_STORE,
        )
    if "used memory > 'maxmemory'" in message:
        return StorageFull(
            "the Redis of the online store has no room; nothing was written",
            value=shown(address),
            next_step="give it more memory (maxmemory), or remove what else it holds",
            details=OF_STORE,
        )
    step = "see whether it is up and LOOPWRIGHT_ONLINE is right; loopwright doctor looks at it"
    why = f"the online store did not answer: {message}"
    return Unavailable(why, value=shown(address), next_step=step, details=OF_STORE)


def text_of(raw: bytes) -> str:
    """Return what was put there as text; what is none, which a project's code may put there too, is not its own."""
    return raw.decode(errors="replace")


def shown(url: str) -> str:
    """Return an address without what opens it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
