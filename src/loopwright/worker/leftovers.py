"""What this worker's state folder holds for nobody: of closed or deleted projects, and of workers that were killed.

A worker removes it now and then. The latter a server removes too, but only where the state folder is its own.
"""

import logging
import threading

from loopwright.features import online
from loopwright.governance import SYSTEM, projects
from loopwright.kernel.errors import LoopwrightError
from loopwright.loop import garbage
from loopwright.store.garbage import GRACE_US
from loopwright.worker.context import WorkerContext
from loopwright.worker.tasks import Tasks

log = logging.getLogger("loopwright.worker")
FIRST_AFTER_S, EVERY_S = 30.0, 600.0


def sweep_stores(context: WorkerContext, tasks: Tasks) -> None:
    """Remove the online stores of closed and deleted projects for which this worker does nothing at the moment.

    Nobody asks for features of a closed project, and no retention would remove them there.

    Raises:
        LoopwrightError: The server does not say which they are.
    """
    stores = online.OnlineStores(context.state_dir, context.online_url)
    idle = stores.projects() - {task.job.project for task in tasks.active()}
    if not idle:
        return
    listed = context.caller.try_once(projects.list_projects, SYSTEM, 0.0, with_closed=True)
    stores.remove(idle & {each.name for each in listed if each.closed_at is not None})


def keep_swept(context: WorkerContext, tasks: Tasks, is_over: threading.Event) -> None:
    """Sweep again and again until the worker is over, whatever a store holds."""
    pause_s = FIRST_AFTER_S
    while not is_over.wait(pause_s):
        pause_s = EVERY_S
        try:
            garbage.sweep_workers(context.state_dir, context.wall.now_us() - GRACE_US)
            sweep_stores(context, tasks)
        except (LoopwrightError, OSError) as error:
            log.info("what nobody needs is looked for later: %s", error)
        except Exception:
            log.exception("what nobody needs is looked for later")
