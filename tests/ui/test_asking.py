"""Pages under load: what they ask never waits for itself."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import pytest

from loopwright.ui.kit import asking
from tests.ui.conftest import Site
from tests.waiting import PATIENCE_S

VISITORS = 24


def test_many_pages_that_read_blobs_at_once_are_all_answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    check, arrived, everyone = asking.check_permission, count(), threading.Barrier(VISITORS)

    def check_together(*args: Any) -> Any:
        if next(arrived) < VISITORS:  # the first question of each visitor, for nobody comes to a second before
            everyone.wait(PATIENCE_S)
        return check(*args)

    monkeypatch.setattr(asking, "check_permission", check_together)

    def visit(number: int) -> int:
        with httpx.Client(timeout=PATIENCE_S) as http:
            return http.get(site.page(f"/predictions/pred_{number:026}")).status_code

    with ThreadPoolExecutor(VISITORS) as pool:
        assert set(pool.map(visit, range(VISITORS))) == {404}
