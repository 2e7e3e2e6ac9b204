"""Reading a dataset: only the files that are needed travel, whatever is asked of them."""

from typing import Any

import pytest

from loopwright.client import HttpCaller
from loopwright.client.remote import Remote
from loopwright.store.blobs import BlobStore
from tests.data.conftest import weather, weather_spec
from tests.data.history import History


class Server(HttpCaller):
    """Tells of one dataset, and writes down which files it gave away."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.given: list[str] = []

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        del verb, args, project
        return self._history.newest

    def get_blob(self, project: str, digest: str) -> bytes:
        del project
        self.given.append(digest)
        return self._history.blobs.get(digest)


@pytest.mark.parametrize(("as_known_at", "known"), [(None, 24), ("2013-03-02T12:00:00Z", 12), ("2013-03-09", 24)])
def test_of_a_day_only_its_files_travel(blob_store: BlobStore, as_known_at: str | None, known: int) -> None:
    history = History(blob_store, weather_spec())
    for day in (1, 2, 3):
        history.change("append", weather(day))
    server = Server(history)
    day = {"start_at": "2013-03-02", "end_at": "2013-03-03"}
    rows = Remote("flights", server).dataset("weather").read(columns=["temp"], as_known_at=as_known_at, **day)
    assert rows["temp"].drop_nulls().to_list() == [10.0 + hour for hour in range(known)]
    assert server.given == [history.newest.fragments[1].digest]
