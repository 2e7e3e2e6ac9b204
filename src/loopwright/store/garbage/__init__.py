"""Garbage collection: blobs that no row names, and files that no process needs again."""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.store.garbage.collecting import GRACE_US, collect_blobs
    from loopwright.store.garbage.folders import TEMPORARY, sweep_folders
    from loopwright.store.garbage.pins import NO_PINS, PINS, columns_to_scan, undeclared
    from loopwright.store.garbage.types import Freed, Garbage

__getattr__ = later(__name__)

__all__ = [
    "GRACE_US",
    "NO_PINS",
    "PINS",
    "TEMPORARY",
    "Freed",
    "Garbage",
    "collect_blobs",
    "columns_to_scan",
    "sweep_folders",
    "undeclared",
]
