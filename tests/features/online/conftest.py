"""Every kind of online store, for what each of them has to do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.features.online import OnlineStore, open_online_store


@pytest.fixture(params=["sqlite", "redis"])
def open_store(request: Any, tmp_path: Path) -> Iterator[Callable[[], OnlineStore]]:
    """Opens one store of the project ``p``, as often as it is called."""
    url = str(tmp_path / "online.sqlite")
    if request.param == "redis":
        url = f"{request.getfixturevalue('empty_redis')}#p"
    opened: list[OnlineStore] = []

    def open_it() -> OnlineStore:
        opened.append(open_online_store(url))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()
