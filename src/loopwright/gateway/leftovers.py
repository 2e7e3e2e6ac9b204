"""What a gateway's disk holds of projects that were deleted goes too: releases, code, scratch space, online stores.

Rows in the spool are let go of by whoever seals them, for the server says which those are; here only what is left of
their folders goes.
"""

from collections.abc import Collection
from pathlib import Path

from loopwright.features import online
from loopwright.gateway.disk import read_document
from loopwright.gateway.releases import KNOWN_FILE, Known
from loopwright.store.garbage.folders import remove_projects

_FOLDERS = ("releases", "code", "scratch")


def let_go(root: Path, state_dir: Path, gone: Collection[str]) -> None:
    """Remove the folders of deleted projects of which nothing is served here.

    Args:
        root: The gateway's folder.
        state_dir: The folder with the online stores.
        gone: Names of the projects.
    """
    remove_projects([root / name for name in _FOLDERS], gone)
    online.remove_stores(state_dir, gone)


def let_go_of_spools(root: Path) -> None:
    """Remove the spools of deleted projects that hold no row, before the spool is opened."""
    known = read_document(root / KNOWN_FILE, Known) or Known()
    empty = [name for name in known.deleted if not any(_sizes(root / "spool" / name))]
    remove_projects([root / "spool"], empty)


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
