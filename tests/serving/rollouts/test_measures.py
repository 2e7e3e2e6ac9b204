"""Measures: a report on labels that somebody chose for the version waits for an approver, whoever deploys it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.features import LabelSpec
from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.verbs import Role
from loopwright.registry import Evidence, GateResult, GateSpec, InputColumn, ModelFile, Signature
from loopwright.store.blobs import BlobStore
from tests.loop.conftest import PROJECT

Call = Callable[..., Any]
EDITOR = Actor("person:ed", {"flights": Role.EDITOR})
APPROVER = Actor("person:app", {"flights": Role.APPROVER})
POLICY = Actor("policy:retrain", SERVICE_ACTOR.roles)
GATE = GateSpec("at_least", {"metric": "accuracy", "value": 0.5})


class Desk:
    """A project with two labelled services, ``late`` and ``easy``, and a training of ``late``."""

    def __init__(self, dispatcher: Dispatcher, blobs: BlobStore) -> None:
        self.dispatcher, self.blobs, self.count = dispatcher, blobs, 0
        self.apply()

    def call(self, verb: str, actor: Actor = SERVICE_ACTOR, **args: Any) -> Any:
        plain = {name: to_builtins(value) for name, value in args.items()}
        return self.dispatcher.call(verb, plain, actor=actor, project="flights")

    def apply(self, **changes: Any) -> None:
        easy = msgspec.structs.replace(PROJECT.services[0], name="easy", label=LabelSpec("easy", "is_late"))
        gated = msgspec.structs.replace(PROJECT.deployments[0], gates=[GATE], rollout=[])
        parts = {
            "datasets": [*PROJECT.datasets, msgspec.structs.replace(PROJECT.datasets[0], name="easy")],
            "services": [*PROJECT.services, easy],
            "deployments": [gated],
            **changes,
        }
        self.call("loop.apply", spec=msgspec.structs.replace(PROJECT, **parts))

    def rows(self, service: str) -> str:
        """Freeze rows of a service; return their ref."""
        self.count += 1
        spec = {"service": service, "dataset_versions": {}, "start_at": None, "end_at": 9, "known_by": 9}
        made = self.call(
            "features.record_training_set",
            spec=spec,
            blob=self.blobs.put(f"rows {self.count}".encode()),
            rows=3,
            plan_digest=self.call("features.freeze_plan", service=service),
            event_at_min=1,
            event_at_max=9,
        )
        return f"flights/training_set:{service}/{made.version}"

    def version(self, training_set: str = "") -> int:
        """Register a version that was trained on rows; without any, import one."""
        self.count += 1
        stored = self.blobs.put(f"model {self.count}".encode())
        facts: dict[str, Any] = {
            "model": "late",
            "flavour": "constant",
            "files": [ModelFile("model.json", stored.digest, stored.size_bytes)],
            "signature": Signature([InputColumn("recent", "number")], "binary"),
        }
        if training_set:
            return int(self.call("registry.register", **facts, training_set=training_set).version)
        return int(self.call("registry.import_model", **facts, reason="by hand").version)

    def judge(self, version: int, rows: str, **facts: Any) -> None:
        """Record that a version passed its gates on rows."""
        evidence = Evidence("late", version, 10, {}, {}, None, None, 0, 0, None, [], evaluation=rows, **facts)
        results = [GateResult(GATE, "passed", "good")]
        self.call("registry.record_gates", model="late", version=version, results=results, evidence=evidence)

    def deploy(self, version: int, actor: Actor = EDITOR) -> str:
        """Deploy a version; return "runs" or the question that waits for an approver."""
        args = {"deployment": "late", "version": version, "reason": "it passed"}
        rollout = self.call("loop.deploy", actor, **args)
        if rollout.state != "waiting_approval":
            self.call("registry.set_alias", APPROVER, model="late", alias="champion", version=version)
            return "runs"
        (approval,) = self.call("approvals.list", state="waiting")
        return str(approval.question.split("it passed ")[1])


@pytest.fixture
def desk(dispatcher: Dispatcher, blob_store: BlobStore) -> Desk:
    return Desk(dispatcher, blob_store)


def trained(desk: Desk, service: str, **facts: Any) -> int:
    version = desk.version(desk.rows(service))
    desk.judge(version, desk.rows(service), **facts)
    return version


@pytest.mark.parametrize("actor", [EDITOR, POLICY])
def test_trainings_on_the_champions_labels_need_nobody(desk: Desk, actor: Actor) -> None:
    assert [desk.deploy(trained(desk, "late"), actor) for _ in range(2)] == ["runs", "runs"]


@pytest.mark.parametrize("actor", [EDITOR, POLICY])
def test_other_labels_than_the_champions_wait_for_an_approver(desk: Desk, actor: Actor) -> None:
    desk.deploy(trained(desk, "late"))
    told = "It was measured on is_late of easy; the champion, version 1, was judged on is_late of flights."
    assert desk.deploy(trained(desk, "easy"), actor) == told


def test_an_approver_decides_by_deploying_and_then_these_are_the_labels(desk: Desk) -> None:
    desk.deploy(trained(desk, "late"))
    assert desk.deploy(trained(desk, "easy"), APPROVER) == "runs"
    assert desk.deploy(trained(desk, "easy")) == "runs"
    assert "version 3, was judged on is_late of easy" in desk.deploy(trained(desk, "late"))


def test_a_service_that_is_declared_anew_is_told_by_its_labels(desk: Desk) -> None:
    desk.deploy(trained(desk, "late"))
    desk.apply(services=[msgspec.structs.replace(PROJECT.services[0], label=LabelSpec("easy", "is_late"))])
    assert "on is_late of easy" in desk.deploy(trained(desk, "late"))


def test_a_report_on_the_champion_from_after_it_served_changes_no_labels(desk: Desk) -> None:
    first = trained(desk, "late")
    desk.deploy(first)
    desk.dispatcher.wall.at_us += 1  # type: ignore[attr-defined]
    desk.judge(first, desk.rows("easy"))
    assert "judged on is_late of flights" in desk.deploy(trained(desk, "easy"))


def test_a_first_import_is_held_to_the_labels_of_a_training(desk: Desk) -> None:
    easy, late = desk.version(), desk.version()
    desk.judge(easy, desk.rows("easy"))
    desk.judge(late, desk.rows("late"))
    assert "trainings of late learn from is_late of flights" in desk.deploy(easy)
    desk.call("serving.abort", APPROVER, rollout_id=desk.call("serving.rollouts")[0].rollout_id, reason="no")
    assert desk.deploy(late) == "runs"


def test_a_first_import_without_a_training_waits_for_an_approver(desk: Desk) -> None:
    desk.apply(trains=[], retrains=[])
    desk.call("deletion.delete", APPROVER, ref="pipeline:fit", reason="not trained here")
    version = desk.version()
    desk.judge(version, desk.rows("late"))
    assert desk.deploy(version) == (
        "It was measured on is_late of flights; no training of late says which labels count, "
        "and it has no champion yet."
    )


def test_a_stretch_that_was_chosen_waits_for_an_approver(desk: Desk) -> None:
    told = "The stretch of rows that it was measured on was chosen by whoever started that."
    assert desk.deploy(trained(desk, "late", is_stretch_chosen=True)) == told


def test_what_is_measured_on_rows_that_are_gone_waits_for_an_approver(desk: Desk) -> None:
    desk.deploy(trained(desk, "late"))
    version, rows = desk.version(desk.rows("late")), desk.rows("late")
    desk.judge(version, rows)
    desk.call("deletion.delete", APPROVER, ref=rows, reason="private")
    assert "labels that are not on record any more" in desk.deploy(version)
