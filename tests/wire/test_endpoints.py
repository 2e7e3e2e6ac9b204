"""Endpoints: rows go to their path in batches that the other side takes."""

from typing import Any

import pytest

from loopwright.kernel.errors import TooLarge
from loopwright.wire.endpoints import BATCH_ROWS, Endpoint, push_rows


class Posted:
    """A gateway that takes at most so many rows at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: list[tuple[str, int]] = []

    def __call__(self, path: str, document: Any) -> Any:
        [(_, rows)] = document.items()
        if len(rows) > self.most:
            raise TooLarge("too large")
        self.taken.append((path, len(rows)))
        return {"accepted": len(rows)}


def test_many_rows_go_in_batches_that_are_halved_until_they_fit() -> None:
    posted = Posted(BATCH_ROWS // 2)
    assert Endpoint("a b", "late", posted).label([{"label": 1}] * (BATCH_ROWS + 1)) == BATCH_ROWS + 1
    assert posted.taken == [("/v1/a%20b/deployments/late/labels", rows) for rows in (2500, 2500, 1)]
    assert Endpoint("a", "late", posted).log([]) == 0
    assert push_rows("a", "flights", [{"id": 1}], posted) == 1
    assert posted.taken[-1][0] == "/v1/a/datasets/flights/push"


def test_one_row_that_does_not_fit_is_told() -> None:
    with pytest.raises(TooLarge):
        Endpoint("a", "late", Posted(0)).label([{"label": 1}])
