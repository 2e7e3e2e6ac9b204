"""Where signs of trouble are looked for: the disk, the spool, children."""

import shutil
from collections.abc import Iterator, Mapping

from loopwright.gateway.log.sealing import ChunkSealer
from loopwright.gateway.log.spool import Spool
from loopwright.gateway.releases.known import Name
from loopwright.gateway.releases.launching import Served
from loopwright.gateway.troubles import Sign

LEAST_FREE_BYTES = 256 << 20
"""With less room than this on the disk of the spool, somebody should free some before it is full."""
SEALING_FAILS_S = 60.0
"""Sealing may fail for so long, while a server or a blob store restarts, before it is told."""


def disk_signs(spool: Spool) -> Iterator[Sign]:
    """Yield what is wrong with the disk that answers must go to before they leave."""
    spool.probe()
    if spool.failure:
        yield Sign("disk", spool.failure, is_in_the_way=True)
    elif shutil.disk_usage(spool.root).free < LEAST_FREE_BYTES:
        yield Sign("disk", f"less than {LEAST_FREE_BYTES >> 20} MiB are free on the disk of {spool.root}")


def spool_signs(spool: Spool, sealer: ChunkSealer) -> Iterator[Sign]:
    """Yield what of the spool needs a person: segments kept aside, strangers in it, rows that cannot be sealed."""
    for name in spool.kept_aside:
        project = name.partition("/")[0]
        yield Sign("spool", f"{name} is kept aside: it holds rows that could not be sealed", project)
    for name in spool.strangers:
        yield Sign("stranger", f"{name} in the spool is no segment and is left alone")
    if sealer.fails_for_s > SEALING_FAILS_S:
        yield Sign("sealing", f"rows wait in the spool and cannot be sealed: {sealer.failure}")


def child_signs(served: Mapping[Name, Served]) -> Iterator[Sign]:
    """Yield deployments whose process ends again and again, or cannot be started."""
    for (project, deployment), each in list(served.items()):
        if why := each.host.lasting_failure:
            yield Sign("child", f"{project}/{deployment}: {why}", project, deployment)
