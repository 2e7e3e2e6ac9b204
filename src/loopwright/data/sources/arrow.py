"""Arrow files, also called Feather version 2."""

from collections.abc import Sequence

import polars as pl

from loopwright.data.sources.base import Asked, SourceFile, join_alike


class ArrowFiles:
    """Files in Arrow's own format."""

    endings = (".arrow", ".feather", ".ipc")

    def open(self, files: Sequence[SourceFile], asked: Asked) -> pl.LazyFrame:
        """Return the rows of files, one after the other."""
        del asked
        return join_alike([pl.scan_ipc(file.path, glob=False) for file in files])
