"""Where the embedded online stores are: one for each project, in a folder of its own.

User code of a project looks features up by itself, behind walls: it has to open the store, and SQLite's files beside it
for writing, and nothing of another project.
"""

from collections.abc import Collection
from pathlib import Path

from loopwright.store.garbage.folders import remove_projects

STORES = "online"
"""Folder of the state folder that holds a folder for each project."""
FILE = "online.sqlite"
"""Name of a store's file; of older versions also that of the one file in the state folder."""

RETURNS_ROOM = "PRAGMA auto_vacuum=INCREMENTAL"
"""Said before a store's first table is made: pages that become free can then be given back a few at a time."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS online (view_key TEXT, entity TEXT, body BLOB, PRIMARY KEY (view_key, entity)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fills (view_key TEXT, fragment TEXT, PRIMARY KEY (view_key, fragment)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generations (view_key TEXT PRIMARY KEY, held_as TEXT, grows_as TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identity (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT, tried INTEGER);
"""
"""Tables of a store. Rows and fills of a view with generations stand under the key of theirs."""


def online_folder(state_dir: Path, project: str) -> Path:
    """Return the folder of a project's store; it is made where it is missing."""
    folder = state_dir / STORES / project
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def online_url(state_dir: Path, project: str) -> str:
    """Return the address of a project's store, whose folder is made where it is missing."""
    return str(online_folder(state_dir, project) / FILE)


def stored_projects(state_dir: Path) -> set[str]:
    """Return the projects that have a store in a state folder."""
    stores = state_dir / STORES
    return {folder.name for folder in stores.iterdir()} if stores.is_dir() else set()


def remove_stores(state_dir: Path, gone: Collection[str]) -> list[Path]:
    """Remove the stores of projects that were deleted; return their folders. Who has one open keeps it until then."""
    return remove_projects([state_dir / STORES], gone)
