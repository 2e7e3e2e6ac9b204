"""Evaluations: a version no training here has judged goes through its gates, and is then deployed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.features import LabelSpec
from loopwright.features.freezing import freeze_training_set
from loopwright.governance import Actor
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.verbs import Role
from loopwright.pipelines import ChildPool
from loopwright.registry import GateSpec, InputColumn, ModelFile, Signature
from loopwright.serving import ApproveSpec
from tests.loop.conftest import LATE, PROJECT, Importer, Loop
from tests.loop.crashing import Worker

GATED = msgspec.structs.replace(LATE, rollout=[], gates=[GateSpec("at_least", {"metric": "accuracy", "value": 0.5})])

EDITOR = Actor("person:ed", {"flights": Role.EDITOR})


@pytest.fixture
def worker(loop: Loop, tmp_path: Path) -> Iterator[Any]:
    children = ChildPool(tmp_path / "worker", loop.blobs)
    yield Worker(loop, tmp_path, children)
    children.close()


def import_model(loop: Loop, tells: bytes = b'{"value": 0.9}', **facts: Any) -> int:
    body = loop.blobs.put(tells)
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
        plan_digest=loop("features.freeze_plan", service=facts["service"]) if "service" in facts else "",
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


@pytest.mark.slow
def test_what_passed_on_other_labels_than_the_champions_waits_for_an_approver(
    loop: Loop, importer: Importer, worker: Any
) -> None:
    """An editor declares which service is a version's own, and imports its labels."""
    easy = [msgspec.structs.replace(PROJECT.datasets[0], name="easy")]
    easy_service = msgspec.structs.replace(PROJECT.services[0], name="easy", label=LabelSpec("easy", "is_late"))
    declared = {
        "deployments": [msgspec.structs.replace(GATED, approve=ApproveSpec("policy", "policy"))],
        "datasets": [*PROJECT.datasets, *easy],
        "services": [*PROJECT.services, easy_service],
    }
    loop.apply(**declared)

    def deploy(version: int) -> Any:
        args = {"deployment": "late", "version": version, "reason": "it passed"}
        rollout = loop.dispatcher.call("loop.deploy", args, actor=EDITOR, project="flights")
        loop.reactor.drain()
        return rollout

    def measured(version: int, dataset: str, **args: Any) -> Any:
        loop.wall.at_us += DAY_US
        importer.load(dataset=dataset)
        loop.wall.at_us += HOUR_US
        asked = {"model": "late", "version": version, **args}
        job = loop.dispatcher.call("loop.start_evaluation", asked, actor=EDITOR, project="flights")
        return worker.do(job)

    first = import_model(loop, service="late")
    start_at = loop.wall.at_us
    assert measured(first, "flights", start_at=start_at)["passed"]
    assert deploy(first).state == "done", "a training of the model has these labels"
    assert loop("serving.status", deployment="late").champion == first
    loop.wall.at_us += HOUR_US
    second = import_model(loop, service="easy", tells=b'{"value": 0.8}')
    assert measured(second, "easy", start_at=loop.wall.at_us)["passed"]
    # Neither a declaration of today nor a report on the champion from after it served makes the labels the usual ones.
    train = msgspec.structs.replace(PROJECT.trains[0], name="easier", service="easy")
    loop.apply(trains=[*PROJECT.trains, train], **declared)
    assert measured(first, "easy", service="easy")["results"]
    waiting = deploy(second)
    assert waiting.state == "waiting_approval"
    (approval,) = loop("approvals.list", state="waiting")
    told = "It was measured on is_late of easy; the champion, version 1, was judged on is_late of flights."
    assert approval.question.endswith(told)
    loop("approvals.approve", approval_id=approval.approval_id, reason="we move to these labels")
    assert loop("serving.status", deployment="late").champion == second


def is_chosen(loop: Loop, version: int, actor: Actor = EDITOR, **span: int) -> bool:
    asked = {"model": "late", "version": version, **span}
    job = loop.dispatcher.call("loop.start_evaluation", asked, actor=actor, project="flights")
    return bool(job.args["is_stretch_chosen"])


def test_a_stretch_that_an_editor_chose_is_told(loop: Loop) -> None:
    loop.apply(deployments=[GATED])
    version = import_model(loop, service="late")
    registered = loop.wall.at_us
    loop.wall.at_us += 3 * DAY_US
    first = loop.wall.at_us - 14 * DAY_US
    assert not is_chosen(loop, version)
    for start_at in (registered, first):
        assert not is_chosen(loop, version, start_at=start_at)
        assert is_chosen(loop, version, start_at=start_at + 1)
        assert is_chosen(loop, version, start_at=start_at - 1)
    assert is_chosen(loop, version, end_at=loop.wall.at_us - 1)
    assert not is_chosen(loop, version, Actor("person:app", {"flights": Role.APPROVER}), start_at=registered + 1)


def test_a_holdout_that_is_declared_later_leaves_out_nothing_from_after_the_registration(loop: Loop) -> None:
    brief = msgspec.structs.replace(PROJECT.trains[0], holdout_us=HOUR_US)
    loop.apply(deployments=[GATED], trains=[brief])
    version = import_model(loop, service="late")
    registered = loop.wall.at_us
    loop.wall.at_us += DAY_US
    job = loop("loop.start_evaluation", model="late", version=version)
    assert job.args["start_at"] == registered
    assert is_chosen(loop, version, start_at=loop.wall.at_us - HOUR_US)


@pytest.mark.slow
def test_a_version_that_passes_on_a_part_of_its_holdout_waits_for_an_approver(
    loop: Loop, importer: Importer, worker: Any
) -> None:
    loop.apply(deployments=[msgspec.structs.replace(GATED, approve=ApproveSpec("policy", "policy"))])
    version, first = train_on_a_row(loop, importer, worker)
    importer.load()  # rows of the holdout, from before the registration as from after it
    loop.wall.at_us += HOUR_US

    def deployed(**span: int) -> Any:
        asked = {"model": "late", "version": version, **span}
        assert worker.do(loop.dispatcher.call("loop.start_evaluation", asked, actor=EDITOR, project="flights"))[
            "passed"
        ]
        args = {"deployment": "late", "version": version, "reason": "it passed"}
        return loop.dispatcher.call("loop.deploy", args, actor=EDITOR, project="flights")

    waiting = deployed(start_at=first + 1)
    assert waiting.state == "waiting_approval"
    (approval,) = loop("approvals.list", state="waiting")
    assert "The stretch of rows that it was measured on was chosen" in approval.question
    loop("approvals.reject", approval_id=approval.approval_id, reason="all of it, please")
    loop.wall.at_us += 1
    assert deployed().state != "waiting_approval"


def train_on_a_row(loop: Loop, importer: Importer, worker: Any) -> tuple[int, int]:
    """Register what was trained on one row, a day before; return its number, and where its holdout begins."""
    importer.load()
    loop.wall.at_us += HOUR_US
    plan = loop("features.freeze_plan", service="late")
    columns = loop("features.plan", digest=plan).columns
    frozen = freeze_training_set(worker, plan_digest=plan, end_at=loop.wall.at_us, run_requests=None)  # type: ignore[arg-type]
    importer.load()
    loop.wall.at_us += DAY_US
    body = loop.blobs.put(b'{"value": 0.9}')
    made = loop.service(
        "registry.register",
        model="late",
        flavour="constant",
        files=[ModelFile("constant.json", body.digest, body.size_bytes)],
        signature=Signature([InputColumn(name, "number") for name in columns], "binary", ["0", "1"]),
        service="late",
        plan_digest=plan,
        training_set=f"flights/training_set:late/{frozen.version}",
    )
    return int(made.version), frozen.event_at_max + 1
