"""Starting and finishing batch scores."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, NotFound

Call = Callable[..., Any]


@pytest.fixture
def rows(blob_store: Any) -> Any:
    return to_builtins(blob_store.put(b"rows"))


def test_scoring_needs_a_champion_or_a_version(declare: Call, register: Call, call: Call, rows: Any) -> None:
    declare()
    register("one")
    with pytest.raises(Conflict, match="no champion yet"):
        call("serving.start_score", deployment="late", input=rows)
    with pytest.raises(NotFound):
        call("serving.start_score", deployment="late", input=rows, version=7)
    assert call("serving.start_score", deployment="late", input=rows, version=1).args["version"] == 1


def test_the_champion_scores_by_default_and_a_finished_score_is_told_once(
    serving_one: int, call: Call, service: Call, rows: Any
) -> None:
    started = call("serving.start_score", deployment="late", input=rows, reason="month's end")
    assert (started.args["version"], started.args["release"]) == (1, 1)
    service("serving.finish_score", job_id=started.job_id, output=rows, rows=5)
    service("serving.finish_score", job_id=started.job_id, output=rows, rows=5)
    told = [event for event in call("audit.list") if event.type == "serving.scored"]
    assert [event.payload["rows"] for event in told] == [5]
