"""Arrow files."""

import io

import polars as pl

from tests.data.sources.conftest import Read


def arrow(**columns: list[object]) -> bytes:
    body = io.BytesIO()
    pl.DataFrame(columns).write_ipc(body)
    return body.getvalue()


def test_rows_of_several_files(read: Read) -> None:
    rows = read("arrow", {"1.arrow": arrow(id=[1], v=[1]), "2.feather": arrow(id=[2], v=[2.5])})
    assert rows.sort("id")["v"].to_list() == [1.0, 2.5]
