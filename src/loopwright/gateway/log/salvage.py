"""Salvage: rows of segments that were put aside are put into the spool again, as far as they can still be read.

Of a damaged segment, what lies before the first damage was sealed, so what is looked for lies behind it: every record
whose length and checksum agree, wherever it begins. A segment that is whole was put aside because its number was taken,
and is put back under a new one.
"""

import os
from pathlib import Path

import msgspec

from loopwright.gateway.log.batches import Batch, Layout
from loopwright.gateway.log.segments import Stream, read_records, records_within
from loopwright.gateway.process import hold_gateway


class Salvaged(msgspec.Struct, frozen=True):
    """What became of one segment: its path below the state folder, rows put back, and bytes that cannot be read."""

    segment: str
    rows: int
    lost_bytes: int


def salvage_spools(state_dir: Path) -> list[Salvaged]:
    """Put back what can be read of every segment that was put aside by gateways of a state folder that are stopped.

    Raises:
        Unavailable: One of them runs.
    """
    done: list[Salvaged] = []
    for aside in sorted(state_dir.glob("gateway-*/spool/*/*/*/*.bad")):
        root = aside.parents[4]
        with hold_gateway(root, wait_s=0.0):
            done.append(_salvage(aside, root))
    return done


def _salvage(path: Path, root: Path) -> Salvaged:
    batches, lost_bytes = readable_after_damage(path)
    if batches:
        stream = Stream(path.parent)
        try:
            stream.append(batches)
            os.fdatasync(stream.handle)
        finally:
            os.close(stream.handle)
    # After a crash before this the same rows are put back again; they have the same ids, and count once.
    path.rename(path.with_suffix(".salvaged"))
    return Salvaged(str(path.relative_to(root.parent)), sum(batch.rows for batch in batches), lost_bytes)


def readable_after_damage(path: Path) -> tuple[list[Batch], int]:
    """Return the batches behind a segment's first damage, all where it is whole, and how many bytes are lost.

    A batch whose layout is lost counts as lost.
    """
    records = list(read_records(path))
    whole = records[-1][0] if records else 0
    layouts = {payload[0]: msgspec.convert(payload[1], Layout) for _, payload in records if len(payload) == 2}
    body = path.read_bytes()
    if whole == len(body):
        return [Batch(layouts[payload[0]], payload[1], payload[2]) for _, payload in records if len(payload) == 3], 0
    batches: list[Batch] = []
    lost_bytes, end = 0, whole
    for start, stop, payload in records_within(body, whole):
        lost_bytes += start - end
        end = stop
        if len(payload) == 2:
            layouts[payload[0]] = msgspec.convert(payload[1], Layout)
        elif payload[0] in layouts:
            batches.append(Batch(layouts[payload[0]], payload[1], payload[2]))
        else:
            lost_bytes += stop - start
    return batches, lost_bytes + len(body) - end
