"""What a tended child is there for: what it is told, and what becomes of what it says."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from loopwright.gateway.children.child import End
from loopwright.gateway.children.messages import FromChild, Message
from loopwright.kernel.errors import LoopwrightError


class Duty(ABC):
    """One purpose of children. ``Tended`` keeps a child at it; this says what to tell it and takes what it says."""

    @abstractmethod
    async def hello(self) -> Message:
        """Return what a child is told first; what may take long to find out, a thread has to."""

    def ahead_of(self, message: Message) -> Iterable[Message]:
        """Return what the child that is there must have heard before a message."""
        return ()

    @abstractmethod
    def receive(self, message: FromChild) -> None:
        """Take a message of the child."""

    def blame(self, end: End) -> None:  # noqa: B027 - most duties blame nobody
        """Remember what was to blame for the end of a child."""

    @abstractmethod
    def refusal(self, why: str) -> LoopwrightError:
        """Return what is answered while there is no child."""

    def owes(self) -> bool:
        """Say whether the child has work that nobody waits for."""
        return False

    def messages_again(self, under_way: Sequence[Message]) -> Sequence[Message]:
        """Return what the next child has to do.

        Args:
            under_way: What the one before was asked and has not answered.
        """
        return under_way

    def patience_s(self, budget_s: float) -> float:
        """Return how long a child with work may be silent, where one question may take ``budget_s``."""
        return budget_s
