"""Forgetting which rule answered which event, once no reactor reads the event again."""

from loopwright.governance import Dispatcher
from loopwright.kernel.clock import HOUR_US
from loopwright.loop import sql

KEPT_US = HOUR_US
"""Far longer than a transaction lasts: one that began before an answer was given still finds the record of it."""


def forget(dispatcher: Dispatcher, limit: int) -> int:
    """Drop up to ``limit`` records of answers to events below the reactor's saved cursor; return how many."""
    before_us = dispatcher.wall.now_us() - KEPT_US
    return dispatcher.database.write(lambda connection: sql.forget_reactions(connection, before_us, limit))
