"""Evaluations: a version no training here has judged goes through its gates, and is then deployed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.pipelines import ChildPool
from loopwright.registry import GateSpec, InputColumn, ModelFile, Signature
from tests.loop.conftest import LATE, Importer, Loop
from tests.loop.crashing import Worker

GATED = msgspec.structs.replace(LATE, rollout=[], gates=[GateSpec("at_least", {"metric": "accuracy", "value": 0.5})])


@pytest.fixture
def worker(loop: Loop, tmp_path: Path) -> Iterator[Any]:
    children = ChildPool(tmp_path / "worker", loop.blobs)
    yield Worker(loop, tmp_path, children)
    children.close()


def import_model(loop: Loop, **facts: Any) -> int:
    body = loop.blobs.put(b'{"value": 0.9}')
    plan = loop("features.plan", digest=loop("features.freeze_plan", service="late"))
    signature = Signature([InputColumn(name, "number") for name in plan.columns], "binary", ["0", "1"])
    files = [ModelFile("constant.json", body.digest, body.size_bytes)]
    made = loop(
        "registry.import_model",
        model="late",
        flavour="constant",
        files=files,
        signature=signature,
        reason="made by hand",
        **facts,
    )
    return int(made.version)


@pytest.mark.slow
def test_an_imported_version_passes_its_gates_on_later_rows_and_is_deployed(
    loop: Loop, importer: Importer, worker: Any
) -> None:
    loop.apply(deployments=[GATED])
    importer.load()
    loop.wall.at_us += HOUR_US
    version = import_model(loop, service="late")
    with pytest.raises(Conflict, match="has not been through its gates"):
        loop("loop.deploy", deployment="late", version=version)
    found: Any = worker.do(loop("loop.start_evaluation", model="late", reason="it came from Ana"))
    assert [(one["gate"], one["verdict"]) for one in found["results"]] == [("at_least", "undecided")]
    assert "nobody knows whether it was trained on them" in found["results"][0]["message"]
    with pytest.raises(Conflict, match="did not pass its gates"):
        loop("loop.deploy", deployment="late", version=version)
    loop.wall.at_us += DAY_US
    importer.load()
    loop.wall.at_us += HOUR_US
    job = loop("loop.start_evaluation", model="late", start_at=loop.wall.at_us - 2 * HOUR_US)
    found = worker.do(job)
    assert found["passed"]
    loop("loop.deploy", deployment="late", version=version)
    assert loop("serving.status", deployment="late").champion == version


def test_what_an_evaluation_needs_is_said_before_it_starts(loop: Loop) -> None:
    version = import_model(loop)
    with pytest.raises(InvalidInput, match="no deployment of late declares a gate"):
        loop("loop.start_evaluation", model="late")
    loop.apply(deployments=[GATED], trains=[], retrains=[])
    with pytest.raises(InvalidInput, match=r"loopwright evaluate late --service NAME"):
        loop("loop.start_evaluation", model="late")
    job = loop("loop.start_evaluation", model="late", service="late")
    assert (job.args["version"], job.args["end_at"] - job.args["start_at"]) == (version, 14 * DAY_US)
