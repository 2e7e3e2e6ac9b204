"""What a spec must be before it is applied."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright import features, pipelines
from loopwright.data import CheckSpec, SourceSpec
from loopwright.features import Aggregate, AggregateViewSpec
from loopwright.governance import LOCAL_ACTOR
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import ProjectSpec, When
from loopwright.monitoring import MonitorSpec
from loopwright.pipelines import PipelineSpec, StepSpec
from loopwright.registry import GateSpec
from loopwright.serving import CanaryStep
from tests.loop.conftest import LATE, POLICY, PROJECT, RECENT, Importer, Loop


def decay(metric: str) -> list[Any]:
    trigger = When("decay", {"metric": metric, "by": 0.03})
    return [msgspec.structs.replace(POLICY, when=[trigger])]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"monitors": {}}, r"nothing watches late.*field: retrains.late.when; .*monitor=lw.Monitor"),
        ({"retrains": decay("accuracy")}, r"decay of accuracy is never measured.*rule: roc_auc, what its monitor"),
        (
            {"retrains": decay("roc_auc"), "monitors": {"late": MonitorSpec(DAY_US, performance="brier")}},
            "rule: brier, what its monitor",
        ),
        ({"trains": [msgspec.structs.replace(PROJECT.trains[0], model="other")]}, "fit trains other, and late serves"),
        ({"trains": [msgspec.structs.replace(PROJECT.trains[0], alias="calendar")]}, "fit sets the alias calendar"),
        (
            {"trains": [msgspec.structs.replace(PROJECT.trains[0], alias="champion")], "retrains": []},
            "trains.fit.alias; value: champion",
        ),
        ({"retrains": [msgspec.structs.replace(POLICY, deployment="none")]}, "no deployment named none"),
        (
            {"deployments": [msgspec.structs.replace(LATE, gates=[GateSpec("beats_champion", {"metric": "roc_acu"})])]},
            r"no metric of a binary task.*deployments.late.gates\[0\].metric.*did you mean roc_auc",
        ),
    ],
)
def test_a_policy_that_could_never_act_is_refused(loop: Loop, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        loop.apply(**changes)


@pytest.mark.parametrize("kind", ["datasets", "views", "services", "trains", "deployments", "retrains"])
@pytest.mark.parametrize("verb", ["loop.plan", "loop.apply"])
def test_what_has_no_name_is_refused_by_its_place(loop: Loop, verb: str, kind: str) -> None:
    (one,) = getattr(PROJECT, kind)
    nameless = msgspec.structs.replace(one, **{"deployment" if kind == "retrains" else "name": ""})
    with pytest.raises(InvalidInput, match=rf"name cannot be used; field: {kind}\[1\].name"):
        loop(verb, spec=msgspec.structs.replace(PROJECT, **{kind: [one, nameless]}))


def many(spec: Any, field: str, entries: list[Any]) -> list[Any]:
    return [msgspec.structs.replace(spec, **{field: entries})]


WEATHER, (VIEW,), STEP = PROJECT.datasets[0], PROJECT.views, StepSpec("s", "call")
MEAN = Aggregate("mean", "mean", "x")
CANARY = CanaryStep(0.05, DAY_US, ["error_rate"])
NAMES = [f"c{number}" for number in range(10_001)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"datasets": [msgspec.structs.replace(WEATHER, name=name) for name in NAMES[:201]]}, "datasets"),
        ({"datasets": many(WEATHER, "checks", [CheckSpec("not_null", name) for name in NAMES[:201]])}, "checks"),
        ({"datasets": many(WEATHER, "key", NAMES[:201])}, "key"),
        ({"datasets": many(WEATHER, "personal", NAMES)}, "personal"),
        (
            {
                "views": many(
                    AggregateViewSpec(VIEW.name, WEATHER.name, "k", [1], [MEAN]), "windows_us", [*range(1, 202)]
                )
            },
            "windows_us",
        ),
        ({"services": many(PROJECT.services[0], "views", [VIEW.name] * 201)}, "views"),
        ({"pipelines": [PipelineSpec("p", [STEP] * 201)]}, "steps"),
        ({"deployments": many(LATE, "gates", [GateSpec("data_checks")] * 31)}, "deployments.late.gates"),
        ({"deployments": many(LATE, "rollout", [CANARY] * 201)}, "spec.rollout"),
        ({"deployments": many(LATE, "follow", NAMES[:201])}, "spec.follow"),
        ({"monitors": {"late": MonitorSpec(DAY_US, ignore=NAMES)}}, "ignore"),
        ({"retrains": many(POLICY, "when", [When("older_than", {"age_us": 1})] * 201)}, "retrains.late.when"),
    ],
)
def test_a_list_that_is_longer_than_anybody_needs_is_refused(loop: Loop, changes: dict[str, Any], field: str) -> None:
    """It is looked through while every other change of the server waits."""
    with pytest.raises(InvalidInput, match="these are too many") as refused:
        loop.apply(**changes)
    assert refused.value.field == field


def test_decay_of_the_metric_that_is_watched_by_default_passes(loop: Loop) -> None:
    loop.apply(retrains=decay("roc_auc"), monitors={"late": MonitorSpec(DAY_US)})
    regression = msgspec.structs.replace(LATE, name="minutes", model="minutes", task="regression", rollout=[])
    loop.apply(
        trains=[msgspec.structs.replace(PROJECT.trains[0], model="minutes")],
        deployments=[regression],
        monitors={"minutes": MonitorSpec(DAY_US)},
        retrains=[msgspec.structs.replace(decay("rmse")[0], deployment="minutes")],
    )
    assert [policy.deployment for policy in loop("loop.spec").retrains] == ["minutes"]


def test_a_segment_that_no_model_reads_is_refused(loop: Loop) -> None:
    read = features.plan_columns(PROJECT.requests, PROJECT.views)[0]
    loop.apply(monitors={"late": MonitorSpec(DAY_US, segments=[read])})
    told = rf"has a column {read}x, so.*segments\[1\].*did you mean {read}\?"
    with pytest.raises(InvalidInput, match=told):
        loop.apply(monitors={"late": MonitorSpec(DAY_US, segments=[read, f"{read}x"])})


def test_a_service_changes_with_its_views(loop: Loop) -> None:
    def planned(**changes: Any) -> dict[str, tuple[str, list[str]]]:
        found = loop("loop.plan", spec=msgspec.structs.replace(PROJECT, **changes)).changes
        return {one.ref: (one.change, one.details) for one in found if one.change != "unaffected"}

    assert planned() == {}
    longer = planned(views=[msgspec.structs.replace(RECENT, windows_us=[DAY_US])])
    assert set(longer) == {"flights/view:recent", "flights/feature_service:late"}
    assert longer["flights/feature_service:late"] == ("changed", ["view recent changes"])


def test_a_training_declared_by_another_version_of_the_platform_is_declared_anew(loop: Loop) -> None:
    present = loop("pipelines.get_pipeline", pipeline="fit")
    steps = [one for one in present.spec.steps if one.name != "finish"]
    older = msgspec.structs.replace(present.spec, steps=steps)
    loop.dispatcher.write("flights", LOCAL_ACTOR, lambda tx: pipelines.declare_built(tx, spec=older))
    planned = loop("loop.plan", spec=PROJECT)
    assert [(one.ref, one.details) for one in planned.changes if one.change != "unaffected"] == [
        ("flights/train:fit", ["steps that change: finish"])
    ]
    loop("loop.apply", spec=PROJECT, plan_digest=planned.digest)
    assert loop("pipelines.get_pipeline", pipeline="fit").digest == present.digest
    assert {one.change for one in loop("loop.plan", spec=PROJECT).changes} == {"unaffected"}


def test_files_that_were_never_imported_are_tried_again_and_those_that_were_are_not(
    loop: Loop, importer: Importer, tmp_path: Path
) -> None:
    """Whoever mends a file that could not be read has changed nothing in the declaration."""
    [flights] = PROJECT.datasets
    filed = msgspec.structs.replace(flights, source=SourceSpec("csv", str(tmp_path / "none.csv")))

    def imports() -> list[str]:
        return [job.state for job in loop("jobs.list", kind="data.import")]

    loop.apply(datasets=[filed])
    assert imports() == ["queued"]
    loop.apply(datasets=[filed])
    assert imports() == ["queued"]
    [job] = loop("jobs.list", kind="data.import")
    loop("jobs.cancel", job_id=job.job_id)
    loop.apply(datasets=[filed])
    assert imports() == ["queued", "cancelled"]
    loop("jobs.cancel", job_id=loop("jobs.list", kind="data.import")[0].job_id)
    importer.load()
    loop.apply(datasets=[filed])
    assert "queued" not in imports()
    otherwise = msgspec.structs.replace(filed, source=SourceSpec("csv", str(tmp_path / "other.csv")))
    planned = loop("loop.plan", spec=msgspec.structs.replace(PROJECT, datasets=[otherwise]))
    [change] = [one for one in planned.changes if one.change == "changed" and one.ref == "flights/dataset:flights"]
    assert change.details[-1].endswith("loopwright import flights --as replace -p flights")


def test_the_plan_names_what_changes_inside_a_list(loop: Loop) -> None:
    [older] = POLICY.when
    policy = msgspec.structs.replace(POLICY, when=[msgspec.structs.replace(older, args={"age_us": 61 * DAY_US})])
    found = loop("loop.plan", spec=msgspec.structs.replace(PROJECT, retrains=[policy]))
    [change] = [one for one in found.changes if one.change != "unaffected"]
    assert change.details == ["when[0].args.age: 60d -> 61d"]


def test_a_spec_names_no_step_of_the_platform(loop: Loop) -> None:
    """Such steps act as the platform: a forged end of a training would move an alias without any gate."""
    value = {"value": {"version": 1}}
    forged = PipelineSpec("forged", [StepSpec("finish", "loop.finish_training", {"registered": value})])
    command = PipelineSpec("forged", [StepSpec("run", "loop.command", {"command": {"value": {"words": ["{x.y}"]}}})])
    for spec, told in ((forged, "the platform's own kind"), (command, "command")):
        with pytest.raises(InvalidInput, match=told):
            loop.apply(pipelines=[spec])


def test_a_project_that_is_only_named_gives_nothing_up(loop: Loop) -> None:
    before = loop("loop.spec")
    loop("loop.apply", spec=ProjectSpec("flights"))
    assert loop("loop.spec") == before
    assert {change.change for change in loop("loop.plan", spec=before).changes} == {"unaffected"}
