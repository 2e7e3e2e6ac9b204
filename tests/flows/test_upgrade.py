"""States that older versions left behind go on: migrated, verified, served from, asked why, retrained.

``kept/state-at-0006.tar.xz`` was made by the version whose schema is 0006: two days of a small slice of the flights,
with a model that a person released. A version that changes what is stored adds its own beside it.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.cli.verifying import verify_state
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.config import Settings, load_settings
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.server.supervisor import running
from tests.flows.flights_slice import START
from tests.flows.test_loop import train
from tests.servers import free_port

KEPT = sorted((Path(__file__).parent / "kept").glob("state-at-*.tar.xz"))


@pytest.fixture(params=KEPT, ids=lambda file: file.name.partition(".")[0])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Settings, dict[str, Any]]]:
    """A kept state, unpacked, with what was known of it."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    settings = msgspec.structs.replace(load_settings(tmp_path / "state"), port=free_port(), gateway_port=free_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPWRIGHT_STATE", str(settings.state_dir))
        yield settings, json.loads((tmp_path / "facts.json").read_text())


@pytest.mark.slow
def test_a_state_of_an_older_version_goes_on(kept: tuple[Settings, dict[str, Any]]) -> None:
    settings, facts = kept
    with running(settings) as platform:
        caller = HttpCaller(platform.server_url)
        remote = Remote("flights", caller)
        assert remote.call("registry.get_version", model="late", alias="champion").version == facts["champion"]

        log = remote.deployment("late").read_log(START, START + 3 * DAY_US)
        served = log.filter(~log["is_shadow"])
        assert served.height == facts["predictions"]
        assert served["label"].drop_nulls().len() == facts["labels"]
        row = served.filter(served["prediction_id"] == facts["prediction_id"])
        assert row["score"].to_list() == [facts["score"]]

        kinds = {node.kind for node in remote.why(facts["prediction_id"]).nodes}
        assert kinds >= {"prediction", "release", "model", "gates", "run", "training_set", "features", "dataset"}
        assert len(remote.call("audit.list", limit=1000)) >= facts["events"]

        now = remote.call("loop.status").clock_at
        asked = {"flight_id": "new", "scheduled_at": now, "carrier": "AA", "origin": "JFK", "dest": "LAX"}
        answers = remote.deployment("late").predict([{**asked, "tailnum": "N1", "distance": 2475, "event_at": now}])
        remote.deployment("late").label(
            [{"prediction_id": answers[0]["prediction_id"], "label": 1, "event_at": now + HOUR_US}]
        )
        remote.advance(now + DAY_US)
        train(remote)
        caller.close()
    assert verify_state(settings).problems == []
