"""Collecting garbage: blobs that no row names and files that no process needs, told as one event."""

from pathlib import Path

import msgspec

from loopwright.governance import SERVICE_ACTOR, SYSTEM, Actor, Dispatcher
from loopwright.kernel.clock import parse_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Role, operation
from loopwright.loop.events import GarbageFreed
from loopwright.loop.operations import OperationContext
from loopwright.store.blobs import BlobStore
from loopwright.store.garbage import GRACE_US, Garbage, collect_blobs, sweep_folders


@operation("storage.collect_garbage", role=Role.ADMIN)
def collect_garbage(context: OperationContext, *, plan: bool = False, grace: str = "24h") -> Garbage:
    """Free what no row has named for a grace period; answers what was freed, what waits and what is kept, and why.

    Blobs are shared by every project, so it is called above them: ``-p _system``.

    Args:
        context: The server's parts.
        plan: True to change nothing and answer what would be freed.
        grace: How long blobs stay that no row names, two hours at least.

    Raises:
        InvalidInput: It was called in a single project, or the grace period is too short.
    """
    if context.project != SYSTEM:
        rule, hint = "above projects", f"loopwright gc, or call it with -p {SYSTEM}"
        raise InvalidInput("blobs are shared by every project", field="project", rule=rule, next_step=hint)
    grace_us = parse_duration(grace, "grace")
    return collect(
        context.dispatcher, context.blobs, context.state_dir, actor=context.actor, is_plan=plan, grace_us=grace_us
    )


def collect(
    dispatcher: Dispatcher,
    blobs: BlobStore,
    state_dir: Path | None,
    *,
    actor: Actor = SERVICE_ACTOR,
    is_plan: bool = False,
    grace_us: int = GRACE_US,
) -> Garbage:
    """Collect blobs and this machine's files; what was freed is told in the audit trail."""
    garbage = collect_blobs(dispatcher.database, blobs, dispatcher.wall, is_plan=is_plan, grace_us=grace_us)
    if state_dir is not None:
        freed = sweep_folders(state_dir, dispatcher.wall.now_us() - grace_us, is_plan=is_plan)
        garbage = msgspec.structs.replace(garbage, freed=[*garbage.freed, *freed])
    if not is_plan and garbage.freed_bytes:
        facts = GarbageFreed(
            blobs=garbage.freed[0].files,
            size_bytes=garbage.freed_bytes,
            freed={freed.what: freed.size_bytes for freed in garbage.freed if freed.files},
        )
        dispatcher.write(SYSTEM, actor, lambda tx: tx.emit(facts, tx.ref("storage", "blobs"), reason="no row names it"))
    return garbage
