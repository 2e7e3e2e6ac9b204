"""Troubles: what a gateway cannot mend by itself. Looked for every few seconds, told to the server and to callers.

What keeps answers from being right, or rows from being taken, also keeps the gateway or a deployment from being ready.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from loopwright.governance import EVERY_PROJECT
from loopwright.kernel.clock import Clock
from loopwright.kernel.storable import storable_text
from loopwright.serving import Trouble

log = logging.getLogger("loopwright.gateway")
Kind = Literal["child", "disk", "sealing", "spool", "store", "stranger", "topic"]
KINDS: tuple[Kind, ...] = ("child", "disk", "sealing", "spool", "store", "stranger", "topic")
_IN_GENERAL: dict[Kind, str] = {
    "child": "the process of a model keeps ending",
    "disk": "the disk takes no rows",
    "sealing": "rows wait to be sealed",
    "spool": "rows could not be sealed",
    "store": "an online store has lost its rows, was never filled, or takes none",
    "stranger": "a file lies in the spool that is none of its own",
    "topic": "a topic cannot be read, or holds what are no rows",
}
"""What somebody is told who may not know whose deployment it is."""


class Sign(NamedTuple):
    """A sign of trouble, seen now.

    Args:
        kind: What sort.
        message: In words that stay the same as long as the trouble does.
        project: Whose; empty where it is everybody's.
        deployment: Which; empty where it is all of them.
        is_in_the_way: True where requests are answered wrongly, or not at all, while it lasts.
        next_step: What to do about it, where that is more than what is said of every trouble of its kind.
        view: To be filled; empty where that is not what helps.
        plan_digest: Of the plan by which it is filled.
    """

    kind: Kind
    message: str
    project: str = ""
    deployment: str = ""
    is_in_the_way: bool = False
    next_step: str = ""
    view: str = ""
    plan_digest: str = ""


Source = Callable[[], Iterable[Sign]]


class Troubles:
    """Remembers what was seen last, and since when each trouble lasts.

    Args:
        clock: Wall time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: list[Source] = []
        self._signs: list[Sign] = []
        self._since: dict[Sign, int] = {}
        self._blind: dict[Source, str] = {}

    def watch(self, *sources: Source) -> None:
        """Look here too from now on; a source may take a moment, it is asked aside of requests."""
        self._sources += sources

    def look(self) -> list[Trouble]:
        """Look for signs everywhere and return what there is, the longest-lasting first."""
        signs: list[Sign] = []
        for source in self._sources:
            try:
                # A sign of life is refused or taken as a whole, with all of them.
                signs += [_storable(sign) for sign in source()]
            except Exception as error:
                if self._blind.get(source) != str(error):  # told once, however long it lasts
                    self._blind[source] = str(error)
                    log.error("signs of trouble cannot be looked for", exc_info=error)
            else:
                self._blind.pop(source, None)
        now_us = self._clock.now_us()
        since = {sign: self._since.get(sign, now_us) for sign in signs}
        for sign in since.keys() - self._since.keys():
            log.error("trouble: %s", sign.message)
        self._signs, self._since = list(since), since
        troubles = [
            Trouble(sign.kind, sign.message, at_us, sign.project, sign.next_step, sign.view, sign.plan_digest)
            for sign, at_us in since.items()
        ]
        return sorted(troubles, key=lambda trouble: trouble.since)

    def hindering(self, scope: str, deployment: str = "") -> list[str]:
        """Return what is in the way of answering rightly, in words.

        Args:
            scope: The project that the caller may read, ``EVERY_PROJECT``; empty for a stranger, who learns no names.
            deployment: One of that project alone; empty for all.
        """
        told = [
            sign.message if scope else _IN_GENERAL[sign.kind]
            for sign in self._signs
            if (sign.is_in_the_way or (deployment and sign.deployment))
            and (not sign.project or scope in ("", EVERY_PROJECT, sign.project))
            and (not deployment or sign.deployment in ("", deployment))
        ]
        return list(dict.fromkeys(told))

    def seen(self, scope: str) -> list[str]:
        """Return every trouble of a project, or of every project, in words."""
        return [sign.message for sign in self._signs if not sign.project or scope in (EVERY_PROJECT, sign.project)]

    def counts(self) -> dict[str, int]:
        """Return how many troubles of each kind last."""
        return {str(kind): sum(sign.kind == kind for sign in self._signs) for kind in KINDS}


def _storable(sign: Sign) -> Sign:
    return sign._replace(message=storable_text(sign.message), next_step=storable_text(sign.next_step))
