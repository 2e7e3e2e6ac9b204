"""Arrow files, also called Feather version 2."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from loopwright.data.sources.base import Asked, join_alike


class ArrowFiles:
    """Files in Arrow's own format."""

    endings = (".arrow", ".feather", ".ipc")

    def open(self, files: Sequence[Path], asked: Asked) -> pl.LazyFrame:
        """Return the rows of files, one after the other."""
        del asked
        return join_alike([pl.scan_ipc(file) for file in files])
