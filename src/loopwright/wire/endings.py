"""How a process ended, in words."""

import signal


def how_ended(code: int) -> str:
    """Return what an exit code says: a status, or less than zero the signal, of which not all have names.

    >>> how_ended(2), how_ended(-9), how_ended(-35)
    ('ended with status 2', 'ended by SIGKILL', 'ended by signal 35')
    """
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
