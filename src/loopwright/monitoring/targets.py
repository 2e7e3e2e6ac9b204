"""Targets of channels, such as a web hook's URL: whoever has one may speak there, so it is written and never shown.

A declaration shows ``webhook:https://hooks.example/…3f9a``: where it goes, and a digest by which the same target is
known again. The target itself stands in a row of its own, which only the job that delivers reads.
"""

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.verbs import query
from loopwright.monitoring import sql
from loopwright.monitoring.types import MonitorSpec
from loopwright.store.tx import Tx

_SHOWN = re.compile(r"…[0-9a-f]{16}\Z")


def shown_spec(spec: MonitorSpec) -> MonitorSpec:
    """Return a declaration as everybody may read it."""
    return msgspec.structs.replace(spec, channels=[shown_channel(channel) for channel in spec.channels])


def shown_channel(channel: str) -> str:
    """Return a channel without its target; one that is shown so already stays as it is.

    >>> shown_channel("webhook:https://hooks.example/T0/B0/secret")
    'webhook:https://hooks.example/…5a85ac25ba108d08'
    """
    kind, _, target = channel.partition(":")
    if not target or _SHOWN.search(target):
        return channel
    try:
        url = urlsplit(target)
        place = f"{url.scheme}://{url.hostname}/" if url.scheme and url.hostname else ""
    except ValueError:
        place = ""
    return f"{kind}:{place}…{hashlib.sha256(target.encode()).hexdigest()[:16]}"


def keep_targets(tx: Tx, channels: Iterable[str]) -> None:
    """Keep the targets of channels as a person declared them.

    Raises:
        InvalidInput: A channel is given as it is shown, and nobody ever declared it here.
    """
    for channel in channels:
        shown = shown_channel(channel)
        if shown != channel:
            sql.put_target(tx, shown, channel.partition(":")[2])
        elif _SHOWN.search(channel) and sql.find_target(tx, channel) is None:
            raise InvalidInput(
                "the target of this channel is not known here",
                field="channels",
                value=channel,
                rule="a channel is declared with its target; it is shown without",
                next_step="declare the whole URL",
            )


@query("monitoring.channel_target", internal=True)
def channel_target(tx: Tx, *, channel: str) -> str:
    """Return the target of a channel, for the job that delivers to it; empty where it has none."""
    target = sql.find_target(tx, channel)
    if target is None and _SHOWN.search(channel):
        raise NotFound("the target of this channel is not kept any more", field="channel", value=channel)
    return channel.partition(":")[2] if target is None else target
