"""Ending with the supervisor: no process of ours outlives the one that started it."""

import os
import signal
import threading
import time

_EVERY_S = 0.5


def end_with_parent() -> None:
    """End this process (as by SIGTERM) as soon as its parent is gone, even if that was killed without warning."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="loopwright-lifeline", daemon=True).start()
