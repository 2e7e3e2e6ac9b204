"""What a gateway's disk holds of projects that ended: releases, code and scratch space of deleted ones, online stores.

Rows in the spool are let go of by whoever seals them, for the server says which those are; here only what is left of
their folders goes.
"""

from collections.abc import Collection
from pathlib import Path

from loopwright.features import online
from loopwright.gateway.disk import read_document
from loopwright.gateway.releases.known import KNOWN_FILE, Known
from loopwright.store.garbage.folders import remove_projects

_FOLDERS = ("releases", "code", "scratch")


def let_go(root: Path, stores: online.OnlineStores, deleted: Collection[str], closed: Collection[str]) -> None:
    """Remove the folders of ended projects of which nothing is served here; nobody asks for features of a closed one.

    Args:
        root: The gateway's folder.
        stores: The online stores.
        deleted: Names of deleted projects.
        closed: Names of closed projects, deleted or not.
    """
    remove_projects([root / name for name in _FOLDERS], deleted)
    stores.remove(closed)


def let_go_of_spools(root: Path) -> None:
    """Remove the spools of deleted projects that hold no row, before the spool is opened."""
    known = read_document(root / KNOWN_FILE, Known) or Known()
    empty = [name for name in known.deleted if not any(_sizes(root / "spool" / name))]
    remove_projects([root / "spool"], empty)


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
