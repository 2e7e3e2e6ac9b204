"""Why a release cannot be loaded, in words that can be sent and stored."""

from typing import NamedTuple

from loopwright.features import online
from loopwright.kernel.errors import LoopwrightError
from loopwright.kernel.storable import storable_text, words_of


class Fault(NamedTuple):
    """Why a release cannot be loaded.

    Args:
        why: In one line.
        next_step: What to do about it, empty where the error does not say so.
        is_of_store: The online store is to blame, or how it is set up: no other release would fare better.
    """

    why: str
    next_step: str = ""
    is_of_store: bool = False


def fault_of(error: Exception) -> Fault:
    """Return what is told of an error; it goes with every sign of life, and those are refused or taken as a whole."""
    if not isinstance(error, LoopwrightError):
        return Fault(storable_text(f"{type(error).__name__}: {words_of(error)}"))
    return Fault(storable_text(words_of(error)), storable_text(error.next_step or ""), online.is_of_store(error))
