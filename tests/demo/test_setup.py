"""What the demo says while it sets up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.client import HttpCaller, Remote
from loopwright.demo import setup
from loopwright.demo.setup import Stage, tell_first
from loopwright.governance import SERVICE_ACTOR, approvals
from loopwright.kernel.errors import Conflict
from loopwright.registry import ModelVersion, Signature
from tests.server.site import Site, serve


def version(number: int, refit_of: int | None) -> ModelVersion:
    return ModelVersion("late", number, "lightgbm", [], "", Signature([], "binary"), {}, refit_of=refit_of)


def test_why_the_first_model_that_serves_is_version_two() -> None:
    told = tell_first(version(2, 1), "person:demo")
    assert told.startswith("version 2 of late, trained on January and February, approved by person:demo, serves from")
    assert "version 1 passed the gates on rows that were held out; version 2 repeats its recipe on all rows" in told
    assert "version 1" not in tell_first(version(2, None), "you")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield from serve(tmp_path, is_open=True)


def test_a_first_release_that_is_rejected_ends_the_wait(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path / "demo")
    stage.remote = Remote("flights", HttpCaller(site.url))

    def ask(connection: Any) -> None:
        tx = site.context.dispatcher.tx(connection, "flights", SERVICE_ACTOR)
        approvals.ask(tx, "flights/deployment:late", "version 1 of late is to serve", "0" * 64)

    def reject_at_once(said: str) -> None:
        for waiting in stage.remote.call("approvals.list", state="waiting"):
            assert waiting.approval_id in said
            stage.remote.call("approvals.reject", approval_id=waiting.approval_id, reason="not this one")

    site.context.database.write(ask)
    monkeypatch.setattr(setup.click, "echo", reject_at_once)
    with pytest.raises(Conflict, match="rejected the first release: not this one") as told:
        stage._release_first_model(ask=True)
    assert told.value.next_step == "loopwright deploy late --version N -p flights asks anew; or start over: --reset"
