"""Calls that this gateway refused: the server is told of them, for the event log, within bounds."""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection

from loopwright.governance import SYSTEM, RefusedCall, Token, denials
from loopwright.kernel.clock import Clock
from loopwright.kernel.errors import NotFound
from loopwright.kernel.storable import storable_text
from loopwright.wire.caller import VerbCaller
from loopwright.wire.denials import DenialFilter

MOST_WAITING = 256
"""How many refused calls are kept while no server answers; of what comes then the log of the gateway alone tells."""
_LONGEST_NAME = 128

log = logging.getLogger("loopwright.gateway")


class Denials:
    """Takes note of refused calls, and tells the server.

    Args:
        clock: Wall time.
        now_s: Monotonic seconds.
    """

    def __init__(self, clock: Clock, now_s: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._filter = DenialFilter(now_s)
        self._waiting: deque[RefusedCall] = deque()

    def note(self, token: Token | None, verb: str, project: str, client: str) -> None:
        """Note a call that was refused, if that is news.

        Args:
            token: The caller's; None for a stranger.
            verb: What was asked for, such as ``predict``.
            project: As the caller named it.
            client: The address that asked.
        """
        project = storable_text(project[:_LONGEST_NAME])  # a call that is refused itself would be told again and again
        if token is None:
            is_news = self._filter.is_news_of_stranger(client, verb)
        else:
            is_news = self._filter.is_news(token.actor, verb, project)
        if not is_news:
            return
        call = RefusedCall(verb, project, client, self._clock.now_us(), None if token is None else token.token_id)
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(call)
        else:
            log.warning("a refused call could not be told to the server: %s", call)

    def send(self, control: VerbCaller, projects: Collection[str]) -> None:
        """Tell the server of what was noted; what it does not take is told the next time.

        Args:
            control: The server.
            projects: Those that there are; calls in others are told above projects.

        Raises:
            LoopwrightError: The server does not answer or refuses.
        """
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(denials.MOST_CALLS, len(self._waiting)))]
            by_project = defaultdict(list)
            for call in batch:
                by_project[call.project if call.project in projects else SYSTEM].append(call)
            for project, calls in by_project.items():
                _tell(control, project, calls)
                for call in calls:
                    self._waiting.remove(call)


def _tell(control: VerbCaller, project: str, calls: list[RefusedCall]) -> None:
    try:
        control.within(project).call(denials.note_refused, calls=calls)
    except NotFound:  # it was deleted a moment ago
        control.within(SYSTEM).call(denials.note_refused, calls=calls)
