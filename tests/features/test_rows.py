"""Identities of rows are stored: they depend on nothing but the row, in this release and in every later one."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.rows import hash_texts, row_hashes


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_a_hash_depends_on_its_text_alone(texts: list[str]) -> None:
    together = hash_texts(texts)
    assert together.tolist() == [int(hash_texts([text])[0]) for text in texts]
    assert len(np.unique(together)) == len(texts)
    assert (together >= 0).all()


def test_a_hash_is_the_same_in_every_release() -> None:
    assert hash_texts(["", "UA-1545", "é" * 80]).tolist() == HASHES


def test_a_rows_hash_is_the_same_in_every_release() -> None:
    at = pl.Series("at", [1_363_000_000_123, None, -1]).cast(pl.Datetime("ms", "America/New_York"))
    columns = {
        "origin": ["J|K", None, "\\"],
        "flight": [7, -1, None],
        "share": [1e-7, float("nan"), 1e20],
        "late": [True, None, False],
        "sky": pl.Series(["clear", None, "rain"]).cast(pl.Categorical),
        "day": at.dt.date(),
    }
    frame = pl.DataFrame({"at": at, **columns})
    assert row_hashes(frame, ["origin"]).tolist() == ROW_HASHES[0]
    assert row_hashes(frame, ["origin", "at"], ["flight", "share", "late", "sky", "day"]).tolist() == ROW_HASHES[1]


ROW_HASHES = [
    [3727566328051635771, 8147104208329303767, 6799829543074845603],
    [8547294053744021171, 7825066474788624869, 8303564895326009144],
]
HASHES = [8147104208329303767, 5447220694363288281, 5790989372839655922]
