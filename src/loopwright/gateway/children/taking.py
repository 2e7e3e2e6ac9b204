"""A child that takes rows for one project: labels and predictions in bulk, and all pushes.

It reads and checks; the gateway puts the rows into the log. A push holds its changes to the online store until it
hears that its rows are in the log, so that a push that was refused has changed nothing.
"""

import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.gateway.bodies import decoded
from loopwright.gateway.children.line import Line
from loopwright.gateway.children.messages import (
    BatchPacker,
    Done,
    Loaded,
    Logged,
    Open,
    Settle,
    Settled,
    Take,
    Taken,
    Target,
)
from loopwright.gateway.log.batches import Batch
from loopwright.gateway.marks import Page, PageMarker
from loopwright.gateway.releases.loading import Loader
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.taking.ingest import IngestBody, RowsNotTaken, read_external, read_labels, rows_of
from loopwright.kernel.clock import WallClock
from loopwright.kernel.errors import LoopwrightError, error_from_dict
from loopwright.store.streams import KEYED_LABELS

if TYPE_CHECKING:
    from loopwright.gateway.taking.pushes import Push

log = logging.getLogger("loopwright.gateway")
STORE, TRANSFORM = 0, 1
"""What is at work: the online store, which may wait its turn, or what a user wrote, which may hang."""
_read_body = msgspec.json.Decoder(IngestBody)


class TakingDesk:
    """Takes the rows of one project, one body after another.

    Args:
        line: To the gateway.
        opened: Its first message.
        page: On which it reads what is at work.
    """

    def __init__(self, line: Line, opened: Open, page: Page) -> None:
        self._line = line
        around = opened.around
        self._loader = Loader(Path(around.root), WallClock(), around.project, around.online_url)
        self._marker = PageMarker(page, [b"store", b"transform"])
        self._packer = BatchPacker()
        self._targets: dict[int, Any] = {}
        self._messages: deque[Any] = deque()
        line.write(Loaded(opened.number))

    def run(self) -> None:
        """Take until the gateway hangs up."""
        while True:
            message = self._next()
            if isinstance(message, Take):
                self._take(message)
            elif isinstance(message, Target):
                self._targets[message.number] = message
            elif isinstance(message, Settle):
                self._line.write(Settled(message.number))

    def _next(self) -> Any:
        if not self._messages:
            self._messages += self._line.read(is_waiting=True)
        return self._messages.popleft()

    def _take(self, take: Take) -> None:
        try:
            if take.kind == "pushes":
                self._line.write(Done(take.number, self._take_push(take)))
            else:
                self._take_rows(take)
        except LoopwrightError as error:
            self._line.write(Done(take.number, error=error.to_dict()))
        except Exception:
            # Whatever a user's function returned or a library thinks of it, the next body is another matter.
            log.exception("rows could not be taken")
            told = RowsNotTaken("something went wrong on our side; the gateway's log has the details")
            self._line.write(Done(take.number, error=told.to_dict()))
        finally:
            self._marker.leave()

    def _take_rows(self, take: Take) -> None:
        """Read labels or predictions; the gateway answers once they are in the log."""
        stamp = Stamp(int.from_bytes(take.base), take.at_us)
        rows = rows_of(decoded(_read_body, take.body), take.kind)
        kind: str = take.kind
        if take.labels is not None:
            kind, batch = read_labels(rows, stamp, is_replay=take.is_replay, wanted=take.labels)
        else:
            batch = read_external(rows, stamp, is_replay=take.is_replay, personal=take.personal)
        is_keyed = kind == KEYED_LABELS.kind
        self._line.write(Taken(take.number, self._packer.pack([batch])[0], batch.rows, is_keyed=is_keyed))

    def _take_push(self, take: Take) -> int:
        target: Target = self._targets[take.target]
        pushes = self._loader.push_target(target.spec, target.views, set(target.personal))
        rows = rows_of(decoded(_read_body, take.body), take.kind)
        stamp = Stamp(int.from_bytes(take.base), take.at_us)
        self._marker.enter(TRANSFORM)
        push: Push = pushes.prepare(rows, stamp)
        self._marker.enter(STORE)

        def keep(batch: Batch) -> None:
            if not take.is_logged:
                self._line.write(Taken(take.number, self._packer.pack([batch])[0], batch.rows, is_held=True))
                self._wait_logged(take.number)

        pushes.commit(push, None if take.is_replay else stamp.at_us, keep)
        return push.batch.rows

    def _wait_logged(self, number: int) -> None:
        """Return once a push's rows are in the log; whatever else is said meanwhile waits its turn.

        Raises:
            LoopwrightError: They are not.
        """
        while (logged := self._logged(number)) is None:
            self._messages += self._line.read(is_waiting=True)
        if logged.why_not is not None:
            raise error_from_dict(logged.why_not)

    def _logged(self, number: int) -> Logged | None:
        for message in self._messages:
            if isinstance(message, Logged) and message.number == number:
                self._messages.remove(message)
                return message
        return None
