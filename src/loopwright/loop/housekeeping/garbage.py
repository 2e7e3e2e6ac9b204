"""Collecting garbage: blobs that no row names and files that no process needs, told as one event."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from loopwright import pipelines
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Actor, Dispatcher
from loopwright.kernel.clock import DAY_US, parse_duration
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.kernel.removing import remove
from loopwright.kernel.verbs import Role, operation
from loopwright.loop.engine.operations import OperationContext
from loopwright.loop.events import GarbageFreed
from loopwright.store.blobs import BlobStore
from loopwright.store.garbage import GRACE_US, TEMPORARY, Freed, Garbage, collect_blobs, sweep_folders
from loopwright.store.garbage.folders import measure, newest_in
from loopwright.wire.folders import hold_folder, is_held

UNUSED_US = 30 * DAY_US
"""How long what is kept to be faster stays that nobody uses."""
_GATEWAY_CACHES = ("models", "code", "scratch")
_WORKER_SCRATCH = ("children", TEMPORARY)


@operation("storage.collect_garbage", role=Role.ADMIN)
def collect_garbage(
    context: OperationContext, *, plan: bool = False, grace: str = "24h", unused: str = "30d"
) -> Garbage:
    """Free what no row has named for a grace period; answers what was freed, what waits and what is kept, and why.

    Blobs are shared by every project, so it is called above them: ``-p _system``.

    Args:
        context: The server's parts.
        plan: True to change nothing and answer what would be freed.
        grace: How long blobs stay that no row names, two hours at least.
        unused: How long what is kept to be faster stays that nobody uses, a day at least: outputs of steps, models and
            code of gateways that are gone, indexes of keys, copies of blobs.

    Raises:
        InvalidInput: It was called in a single project, or a time is too short.
    """
    if context.project != SYSTEM:
        rule, hint = "above projects", f"loopwright gc, or call it with -p {SYSTEM}"
        raise InvalidInput("blobs are shared by every project", field="project", rule=rule, next_step=hint)
    grace_us, unused_us = parse_duration(grace, "grace"), parse_duration(unused, "unused")
    if unused_us < DAY_US:
        raise InvalidInput("what was used today is in use", field="unused", value=unused, rule="1d or more")
    return collect(
        context.dispatcher,
        context.blobs,
        context.state_dir,
        actor=context.actor,
        is_plan=plan,
        grace_us=grace_us,
        unused_us=unused_us,
    )


def collect(
    dispatcher: Dispatcher,
    blobs: BlobStore,
    state_dir: Path | None,
    *,
    actor: Actor = SERVICE_ACTOR,
    is_plan: bool = False,
    grace_us: int = GRACE_US,
    unused_us: int = UNUSED_US,
) -> Garbage:
    """Collect blobs, caches and this machine's files; what was freed is told in the audit trail."""
    now_us = dispatcher.wall.now_us()
    freed = [pipelines.forget_unused_outputs(dispatcher.database, now_us - unused_us, is_plan=is_plan)]
    garbage = collect_blobs(dispatcher.database, blobs, dispatcher.wall, is_plan=is_plan, grace_us=grace_us)
    if state_dir is not None:
        unused_before_us = now_us - unused_us
        freed += sweep_folders(
            state_dir,
            now_us - grace_us,
            unused_before_us=unused_before_us,
            is_plan=is_plan,
        )
        freed.append(sweep_workers(state_dir, now_us - grace_us, is_plan=is_plan))
        freed.append(sweep_gateways(state_dir, unused_before_us, is_plan=is_plan))
    garbage = msgspec.structs.replace(garbage, freed=[*garbage.freed, *(each for each in freed if each.files)])
    if not is_plan and any(each.files for each in garbage.freed):
        facts = GarbageFreed(
            blobs=garbage.freed[0].files,
            size_bytes=garbage.freed_bytes,
            freed={freed.what: freed.size_bytes for freed in garbage.freed if freed.files},
        )
        dispatcher.write(SYSTEM, actor, lambda tx: tx.emit(facts, tx.ref("storage", "blobs"), reason="no row names it"))
    return garbage


def sweep_workers(state_dir: Path, before_us: int, *, is_plan: bool = False) -> Freed:
    """Remove rows and code that workers had which were killed and did not come back; return what was freed.

    Args:
        state_dir: The state folder of this machine.
        before_us: Wall time, microseconds UTC; what was written since stays.
        is_plan: True to remove nothing.
    """
    roots = sorted(state_dir.glob("worker*"))
    return _sweep_gone("scratch space of workers that are gone", roots, _WORKER_SCRATCH, before_us, is_plan=is_plan)


def sweep_gateways(state_dir: Path, before_us: int, *, is_plan: bool = False) -> Freed:
    """Remove models and code of gateways that run no longer and wrote nothing since a moment; return what was freed.

    One that comes back fetches them anew. What it took stays: its spool may hold rows that nobody else has.

    Args:
        state_dir: The state folder of this machine.
        before_us: Wall time, microseconds UTC.
        is_plan: True to remove nothing.
    """
    roots = sorted(state_dir.glob("gateway-*"))
    return _sweep_gone("models and code of gateways that are gone", roots, _GATEWAY_CACHES, before_us, is_plan=is_plan)


def _sweep_gone(what: str, roots: list[Path], names: Sequence[str], before_us: int, *, is_plan: bool) -> Freed:
    """Remove what is in folders by these names of processes that run no longer and wrote nothing since a moment."""
    freed = []
    for root in roots:
        if is_held(root / "lock") or newest_in(root) >= before_us:
            continue
        folders = [root / name for name in names]
        found = measure("", folders)
        if not is_plan and found.files and not _removed(root, folders):
            continue
        freed.append(found)
    return Freed(what, sum(each.files for each in freed), sum(each.size_bytes for each in freed))


def _removed(root: Path, folders: list[Path]) -> bool:
    """Remove folders of a process; False if it came back meanwhile."""
    try:
        with hold_folder(root / "lock", 0.0, lambda: Unavailable("a process works in this folder", value=str(root))):
            for folder in folders:
                remove(folder)
    except Unavailable:
        return False
    return True
