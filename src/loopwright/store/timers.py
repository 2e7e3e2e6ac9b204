"""Timers that come again: who plans the one after, whatever becomes of this one."""

from collections.abc import Callable
from typing import TypeVar

from loopwright.kernel.verbs import verb_of

Planner = Callable[..., object]
P = TypeVar("P", bound=Planner)

PLANNERS: dict[str, Planner] = {}
"""By verb: what plans the timer after one that calls it; filled as rooms are imported."""


def plans_next(verb: Callable[..., object]) -> Callable[[P], P]:
    """Mark ``function(tx, **args)`` as the one that plans the timer after one of a verb, from its arguments.

    It runs before the verb, in a transaction of its own: a window that cannot be closed must not be the last one that
    is. So it may do nothing that depends on the verb's work, and planning twice is planning once.
    """

    def keep(function: P) -> P:
        PLANNERS[verb_of(verb).name] = function
        return function

    return keep
