"""Pages under load: what they ask never waits for itself."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from loopwright.ui.kit import asking
from tests.ui.conftest import Site

VISITORS = 24


def test_many_pages_that_read_blobs_at_once_are_all_answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    check = asking.check_permission

    def check_slowly(*args: Any) -> Any:
        time.sleep(0.3)
        return check(*args)

    monkeypatch.setattr(asking, "check_permission", check_slowly)

    def visit(number: int) -> int:
        with httpx.Client(timeout=20) as http:
            return http.get(site.page(f"/predictions/pred_{number:026}")).status_code

    started = time.monotonic()
    with ThreadPoolExecutor(VISITORS) as pool:
        assert set(pool.map(visit, range(VISITORS))) == {404}
    assert time.monotonic() - started < 15
