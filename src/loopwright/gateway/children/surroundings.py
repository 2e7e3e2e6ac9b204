"""What surrounds a child: its project's code, models, store and scratch space, and walls around all else."""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loopwright.config import work_in
from loopwright.features import online
from loopwright.gateway.releases.files import code_folder
from loopwright.kernel.errors import StepFailed
from loopwright.pipelines import Enclosure
from loopwright.wire.walls import raise_walls


class Surroundings(msgspec.Struct, array_like=True):
    """Where a child of one project finds what it needs, and its walls, see ``wire.walls.raise_walls``; None for none.

    ``root`` is the gateway's folder.
    """

    project: str
    root: str
    online_url: str
    scratch: str
    walls: dict[str, Any] | None


class Place(NamedTuple):
    """Where a gateway and its children find things: its folder, the online stores, and how children are shut in."""

    root: Path
    stores: online.OnlineStores
    enclosure: Enclosure | None

    async def prepared(self, project: str, models: Iterable[str] = (), *, has_store: bool = True) -> Surroundings:
        """Return what ``around`` does, from a thread: what holds the stores may keep whoever asks it waiting."""
        return await asyncio.to_thread(self.around, project, list(models), has_store=has_store)

    def around(self, project: str, models: Iterable[str] = (), *, has_store: bool = True) -> Surroundings:
        """Return what surrounds a child of a project that serves these models; folders are made where they are missing.

        Behind its walls it may read the project's code and these models, and write the project's store and scratch.

        Args:
            project: Whose child it is.
            models: Keys of the models it serves.
            has_store: It may look features up, or push; one that does not is told of no store, and waits for none.

        Raises:
            InvalidInput: As ``OnlineStores.address_for_code``.
            Unavailable: As ``OnlineStores.address_for_code``.
        """
        code, scratch = code_folder(self.root, project), self.root / "scratch" / project
        for folder in (code, scratch):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        reads = [code, *(self.root / "models" / key for key in models)]
        stores = self.stores.folders(project)
        walls = None if self.enclosure is None else self.enclosure.walls(reads, [scratch], stores)
        address = self.stores.address_for_code(project) if has_store else ""
        return Surroundings(project, str(self.root), address, str(scratch), walls)


def settle_in(around: Surroundings) -> None:
    """Go where a child works, and raise its walls: before anything of the project's runs, and for good.

    Raises:
        StepFailed: Walls are wanted and cannot be raised.
    """
    work_in(around.scratch)
    tempfile.tempdir = None  # what was chosen before is behind the walls
    if around.walls is None:
        return
    try:
        raise_walls(around.walls)
    except (OSError, RuntimeError) as error:
        raise StepFailed(
            f"no walls can be raised around user code: {error}",
            next_step="loopwright doctor says what this machine can; LOOPWRIGHT_WALLS=off for code that you trust",
        ) from None
