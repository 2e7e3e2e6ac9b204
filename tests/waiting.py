"""Waiting for what a test asserts: no longer than it takes, and far longer than any machine needs before giving up."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 240.0
"""How long anything may take before it counts as never; a machine of which others take nine tenths stays below."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1


def wait_until(is_so: Callable[[], T], told: Callable[[], object] = lambda: "") -> T:
    """Ask until the answer is true, and return it.

    Args:
        is_so: What is asked.
        told: What a reader wants to see where it never is.
    """
    deadline, pause_s = time.monotonic() + PATIENCE_S, _FIRST_PAUSE_S
    while not (answer := is_so()):
        assert time.monotonic() < deadline, told()
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return answer
