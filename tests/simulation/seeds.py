"""Many histories: ``python -m tests.simulation.seeds --seeds 1000``, or one with its whole trace: ``--seed 7``."""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from loopwright.rooms import import_rooms
from tests.simulation.world import History, play

_MEMORY = Path("/dev/shm")
_CHUNKS_EACH = 25
"""After so many chunks of seeds a process is replaced: what was killed in a history is never let go."""


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Yield a folder, in memory where the system has that: what a disk loses is simulated, none is waited for."""
    is_there = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
    with TemporaryDirectory(prefix="simulation-", dir=_MEMORY if is_there else None) as folder:
        yield Path(folder)


def play_seed(seed: int) -> History:
    """Play one history in a folder of its own."""
    import_rooms("tables", "jobs")
    with empty_folder() as folder:
        return play(seed, folder)


def play_many(first: int, count: int, processes: int) -> Iterator[History]:
    """Yield the histories of ``count`` seeds from ``first`` on, as they end."""
    seeds = range(first, first + count)
    if processes == 1:
        yield from map(play_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=_CHUNKS_EACH) as pool:
        yield from pool.imap_unordered(play_seed, seeds, chunksize=8)


def main() -> int:
    """Play seeds; tell of each that breaks an invariant, and how to replay it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, with its trace")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.seed is not None:
        history = play_seed(asked.seed)
        print("\n".join(history.lines))
        print("\n".join(history.broken) or "every invariant holds", f"\nhistory {history.digest}")
        return bool(history.broken)
    begun, broken, lines = time.monotonic(), [], 0
    for history in play_many(asked.first, asked.seeds, asked.processes):
        lines += len(history.lines)
        if history.broken:
            broken.append(history.seed)
            print(history.told(), "\n", flush=True)
    took_s = time.monotonic() - begun
    print(
        f"{asked.seeds} seeds from {asked.first} in {took_s:.0f} s, {lines} lines; broken: {sorted(broken) or 'none'}"
    )
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
