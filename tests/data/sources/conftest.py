"""Files as people have them, read as a worker reads them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import polars as pl
import pytest

from loopwright.data import SourceSpec
from loopwright.data.sources import Asked, SourceRoots, find_files, open_files

Read = Callable[..., pl.DataFrame]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write files into a folder, and return its rows: ``read("csv", {"a.csv": "id\\n1\\n"}, types={…})``."""

    def write_and_read(
        kind: str,
        files: Mapping[str, str | bytes],
        *,
        known: Mapping[str, pl.DataType] | None = None,
        hidden: tuple[str, ...] = (),
        **declared: Any,
    ) -> pl.DataFrame:
        folder, scratch = tmp_path / "rows", Path(mkdtemp(dir=tmp_path))
        folder.mkdir(exist_ok=True)
        for name, body in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body if isinstance(body, bytes) else body.encode())
        asked = Asked(SourceSpec(kind, str(folder), **declared), scratch, known or {}, hidden)
        with find_files(asked.spec, SourceRoots([tmp_path])) as found:
            return open_files(found, asked).collect()

    return write_and_read
