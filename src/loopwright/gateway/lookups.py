"""Look-ups of features by key: each is handed to the child of its release, which has the plan and the online store."""

from loopwright.gateway.answering.lookups import plan_of
from loopwright.gateway.answering.questions import Question
from loopwright.gateway.answering.runtime import champion_place
from loopwright.gateway.releases.launching import Served
from loopwright.gateway.stamps import Stamp
from loopwright.kernel.clock import Clock


class Lookups:
    """Has features looked up by the process that answers predictions, so that both find the same.

    Args:
        clock: Wall time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def answer(self, served: Served, question: Question) -> bytes:
        """Return the body of the answer; nothing is logged.

        Raises:
            InvalidInput: The body cannot be read, or a row breaks a rule; names ``rows[i].field``.
            TooLarge: There are too many rows.
            Conflict: The deployment looks nothing up.
            TooBusy: More is under way than may wait.
            TookTooLong: It was not answered within the deployment's budget.
            ModelFailed: An on-request function raised.
            ModelPaused: The model or a feature function has hung or crashed, and is not tried again yet.
            Unavailable: The online store does not answer.
        """
        plan_of(served.release, champion_place(served.release))
        with served.admission.admitted(len(question.body)):
            return await served.host.ask(question, Stamp.now(self._clock.now_us()))
