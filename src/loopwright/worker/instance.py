"""The folder of one worker: who holds it lives, and so who is written in it and does not hold it is dead."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loopwright.kernel.errors import Unavailable
from loopwright.kernel.removing import remove
from loopwright.store.garbage import TEMPORARY
from loopwright.wire.folders import hold_folder

MOST_INSTANCES = 64
"""Workers on one state folder."""
_NAME = "name"


class Instance(msgspec.Struct, frozen=True):
    """The folder that a worker holds."""

    folder: Path

    def take_temporary(self) -> None:
        """Have this process put temporary files into a folder of its own, empty by now: killed ones left theirs there.

        Rows are among them, which nothing but the walls of the state folder protects.
        """
        folder = self.folder / TEMPORARY
        remove(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.tempdir = str(folder.absolute())

    def succeed(self, name: str) -> str:
        """Write the name of the worker that holds the folder now; return that of the one before, empty for none."""
        file = self.folder / _NAME
        before = file.read_text("utf-8") if file.exists() else ""
        draft = file.with_suffix(".tmp")
        draft.write_text(name, "utf-8")
        draft.replace(file)
        return before


@contextmanager
def hold_instance(state_dir: Path) -> Iterator[Instance]:
    """Hold the first folder for a worker that no other worker holds: ``worker``, then ``worker-2`` and so on.

    Raises:
        Unavailable: All are held, or the state folder cannot be written.
    """
    for number in range(1, MOST_INSTANCES + 1):
        folder = state_dir / ("worker" if number == 1 else f"worker-{number}")
        held = hold_folder(folder / "lock", 0.0, lambda folder=folder: _Taken(str(folder)))  # type: ignore[misc]
        try:
            held.__enter__()
        except _Taken:
            continue
        try:
            yield Instance(folder)
        finally:
            held.__exit__(None, None, None)
        return
    raise Unavailable(
        f"{MOST_INSTANCES} workers work on this state folder", value=str(state_dir), next_step="stop some"
    )


class _Taken(Unavailable):
    """Another worker holds this folder."""
