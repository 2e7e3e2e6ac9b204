"""Timers that come again: who plans the one after, whatever becomes of this one or is planned meanwhile."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from loopwright.kernel.verbs import verb_of
from loopwright.store import sql
from loopwright.store.tx import Tx

Planner = Callable[..., object]
F = TypeVar("F", bound=Planner)
P = ParamSpec("P")

PLANNERS: dict[str, Planner] = {}
"""By verb: what plans the timer after one that calls it; filled as rooms are imported."""


def plans_next(verb: Callable[..., object]) -> Callable[[F], F]:
    """Mark ``function(tx, **args)`` as the one that plans the timer after one of a verb, from its arguments.

    It runs before the verb, in a transaction of its own: a window that cannot be closed must not be the last one that
    is. So it may do nothing that depends on the verb's work, and planning twice is planning once.
    """

    def keep(function: F) -> F:
        PLANNERS[verb_of(verb).name] = function
        return function

    return keep


def sooner(
    tx: Tx, due_at: int, key: str, verb: Callable[Concatenate[Tx, P], Any], /, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Plan a verb call as ``Tx.later`` does, unless a timer with the same key is due before: none is put off."""
    planned = sql.find_due(tx, key)
    if planned is None or planned > due_at:
        tx.later(due_at, key, verb, *args, **kwargs)
