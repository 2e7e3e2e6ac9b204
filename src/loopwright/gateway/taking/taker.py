"""A project's child for rows: it reads them, the gateway puts them into the log, and only then features see them."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from loopwright.features import BoundView, DatasetPushSpec
from loopwright.gateway.admission import Admission
from loopwright.gateway.children.child import End
from loopwright.gateway.children.duty import Duty
from loopwright.gateway.children.messages import (
    BatchUnpacker,
    Done,
    FromChild,
    Logged,
    Message,
    Open,
    Take,
    Taken,
    Target,
)
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.children.surroundings import Place
from loopwright.gateway.children.tended import Pending, Tended
from loopwright.gateway.log.batches import StreamKey
from loopwright.gateway.log.journal import Journal
from loopwright.kernel.errors import LoopwrightError, Unavailable, error_from_dict
from loopwright.store.streams import KEYED_LABELS, LABELS

log = logging.getLogger("loopwright.gateway")
TRANSFORM_S = 15.0
"""How long a transform may take with the rows of one push."""
BUDGET_S = 40.0
"""How long one body may take; the online store waits up to 30 seconds for another writer."""


class Taker(Duty):
    """Has the rows of one project taken by a child.

    Args:
        project: Whose.
        nursery: Where children come from.
        place: Where it finds code and the online store.
        journal: Where rows are logged.
    """

    def __init__(self, project: str, nursery: Nursery, place: Place, journal: Journal) -> None:
        self.tended = Tended(f"{project}: rows", nursery, BUDGET_S, self, TRANSFORM_S)
        self.tended.end_when_idle()
        self.admission = Admission(self.tended.name, BUDGET_S)
        self._unpacker = BatchUnpacker()
        self._project, self._place, self._journal = project, place, journal
        self._streams: dict[int, StreamKey] = {}
        self._targets: dict[str, Target] = {}
        self._numbered: dict[int, Target] = {}
        self._told: set[int] = set()

    async def take(self, take: Take, stream: str) -> int:
        """Have a body taken and return how many rows it has; they are in the log, and those of pushes in features.

        Raises:
            InvalidInput: A row breaks a rule. Nothing was taken.
            StepFailed: A transform raised. Nothing was taken.
            TooBusy: Too much waits already.
            TookTooLong: It is not known what was taken; sending it again does no harm to features.
        """
        with self.admission.admitted(len(take.body)):
            self._streams[take.number] = StreamKey(self._project, take.kind, stream)
            try:
                rows: int = await self.tended.put(take)
            finally:
                self._streams.pop(take.number, None)
            return rows

    def target(self, spec: DatasetPushSpec, views: list[BoundView], personal: list[str]) -> int:
        """Return the number by which the child knows a dataset, as it is declared now."""
        known = self._targets.get(spec.name)
        if known is None or (known.spec, known.views, known.personal) != (spec, views, personal):
            known = self._targets[spec.name] = Target(self.tended.next_number(), spec, views, personal)
            self._numbered[known.number] = known
        return known.number

    async def hello(self) -> Message:
        """Return where to find code and the online store."""
        around = await self._place.prepared(self._project)
        self._told.clear()
        self._unpacker = BatchUnpacker()
        return Open(0, around)

    def ahead_of(self, message: Message) -> Iterable[Message]:
        """Return the dataset of a push that the child does not know yet."""
        if isinstance(message, Take) and message.target and message.target not in self._told:
            self._told.add(message.target)
            yield self._numbered[message.target]

    def receive(self, message: FromChild) -> None:
        """Put what was read into the log, and tell what was taken."""
        if isinstance(message, Taken):
            self._on_taken(message)
        elif isinstance(message, Done) and (pending := self.tended.take_off(message.number)) is not None:
            error = None if message.error is None else error_from_dict(message.error)
            _tell(pending, message.rows, error)

    def blame(self, end: End) -> None:
        """Tell the log what happened."""
        what = "a transform" if end.mark == b"transform" else "taking rows"
        log.error("%s: %s: its process %s", self.tended.name, what, end.how)

    def patience_s(self, budget_s: float) -> float:
        """Return how long it may be silent: a transform may hang, the store may wait its turn."""
        return TRANSFORM_S if self.tended.mark == b"transform" else budget_s

    def refusal(self, why: str) -> LoopwrightError:
        """Return what callers are told meanwhile."""
        return Unavailable(f"rows cannot be taken now: {why}", value=self._project, next_step="send them again later")

    def _on_taken(self, taken: Taken) -> None:
        pending, stream = self.tended.under_way.get(taken.number), self._streams.get(taken.number)
        batches = self._unpacker.unpack([taken.batch])
        if pending is None or stream is None:
            if taken.is_held:
                self._answer(taken.number, Unavailable("nobody waits for this push any more"))
            return

        if taken.is_keyed and stream.kind == LABELS.kind:
            stream = stream._replace(kind=KEYED_LABELS.kind)

        def then(why: Exception | None) -> None:
            if not taken.is_held:
                self.tended.take_off(taken.number)
                _tell(pending, taken.rows, why)
                return
            if why is None and isinstance(pending.message, Take):
                pending.message.is_logged = True
            self._answer(taken.number, why)

        try:
            self._journal.keep(stream, batches, then)
        except LoopwrightError as error:
            then(error)

    def _answer(self, number: int, why: Exception | None) -> None:
        """Tell a push that waits whether its rows are in the log."""
        told: dict[str, Any] | None = None
        if why is not None:
            told = why.to_dict() if isinstance(why, LoopwrightError) else {"code": "unavailable", "message": str(why)}
        self.tended.send(Logged(number, told))


def _tell(pending: Pending, rows: int, why: Exception | None) -> None:
    done: asyncio.Future[Any] = pending.done
    if not done.done():
        done.set_result(rows) if why is None else done.set_exception(why)
