"""From declarations to the one document that apply sends."""

import sys
from pathlib import Path
from typing import Any

import pytest

from loopwright.cli.project import load_project
from loopwright.kernel.documents import convert, digest_bytes, to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import CommandSpec, ProjectSpec

TEXT = """
import loopwright as lw

p = lw.Project("trips", owner="ana")
trips = p.dataset("trips", lw.source.parquet("data/trips.parquet"), key="trip_id", time="started_at")
by_city = p.aggregates(trips, entity="city", over=["1d"], km=lw.agg.mean("km"))


@p.on_request(inputs=["city", "started_at"])
def asked(request):
    return request.select("city", weekday=request["started_at"].dt.weekday())


service = p.feature_service("near", [asked, by_city], label=trips["km"], task="regression")


@p.train(model="near", inputs=service, holdout="1d")
def fit(rows, depth=3):
    return None


@p.step(retries=2, timeout="10m")
def load(start):
    return start


@p.step
def tell(rows):
    return rows


@p.pipeline(every="1d")
def nightly(start="2026-01-01"):
    tell(load(start))


p.deployment("near", model="near", monitor=lw.Monitor(), retrain=lw.Retrain(fit, when=[lw.when.drift(features=1)]))
p.external("elsewhere", task="binary", personal=["age"])
p.command("script", "python fit.py {data} {out}", inputs={"data": trips},
          outputs={"out": lw.model("near", file="model.txt", task="regression")}, env="requirements.lock")
"""


def load(folder: Path, text: str = TEXT) -> Any:
    file = folder / "trips_project.py"
    file.write_text(text)
    (folder / "requirements.lock").write_text("lightgbm==4.7.0\n")
    sys.modules.pop("trips_project", None)
    return load_project(file)


def test_a_file_that_a_dry_run_wants_is_named(folder: Path) -> None:
    draft = load(folder).draft
    (folder / "data" / "trips.parquet").unlink()
    with pytest.raises(
        InvalidInput, match=r"dry run reads the columns of dataset trips, .*trips\.parquet, and no such"
    ):
        draft.to_spec()


def test_a_spec_holds_all_that_is_declared(folder: Path) -> None:
    spec, packed = load(folder).draft.to_spec()
    assert convert(to_builtins(spec), ProjectSpec) == spec
    assert spec.code_digest == digest_bytes(packed)
    assert spec.datasets[0].source.location == str(folder / "data" / "trips.parquet")
    assert spec.requests[0].outputs == ["city", "weekday"]
    assert (spec.services[0].requests, spec.services[0].views) == (["asked"], ["trips_by_city"])
    assert spec.trains[0].function.qualname == "fit"
    assert [one.task for one in spec.deployments] == ["regression", "binary"]
    assert spec.deployments[1].is_external
    assert list(spec.monitors) == ["near"]
    assert spec.retrains[0].train == "fit"
    nightly, script = spec.pipelines
    assert [step.name for step in nightly.steps] == ["load", "tell"]
    command = convert(script.steps[0].inputs["command"]["value"], CommandSpec)
    assert command.inputs == {"data": "trips"}
    assert command.code_digest == spec.code_digest
    assert command.environment == ("requirements.lock", digest_bytes(b"lightgbm==4.7.0\n"))


OUTSIDE = """
import loopwright as lw

p = lw.Project("shop")
p.dataset("orders", lw.source.sql("SELECT * FROM orders", "warehouse", watermark="changed"), key="id", every="1h")
p.dataset("landings", lw.source.topic("events", "landings", arrived="came_at"), key="id", time="came_at")
"""


def test_a_database_and_a_topic_are_no_places_beside_the_project_file(folder: Path) -> None:
    spec, _ = load(folder, OUTSIDE).draft.to_spec()
    named = {each.name: each for each in spec.datasets}
    assert named["orders"].source.location == "warehouse"
    assert (named["landings"].source.location, named["landings"].takes_pushes) == ("events/landings", True)


PERSONAL = (
    TEXT.replace('time="started_at")', 'time="started_at", personal=["trip_id", "city", "km"])')
    .replace(
        "service = ",
        """riders = p.dataset("riders", lw.source.push(), key="city", time="seen_at", personal=["city", "age"])
other = p.dataset("other", lw.source.push(), key="id", time="seen_at", personal=["phone"])
rider = p.features(riders, entity="city", columns=["age", "km"], name="rider")
best = p.features(trips, entity="city", columns=["km"], name="best")
p.deployment("bought", model="bought", task="binary")
p.deployment("scripted", model="script", task="regression", personal=["asked"])
service = """,
    )
    .replace('lw.model("near"', 'lw.model("script"')
)
PERSONAL = PERSONAL.replace("[asked, by_city]", "[asked, by_city, rider, best]")


def test_what_is_personal_in_a_dataset_is_left_out_of_the_log_of_its_models(folder: Path) -> None:
    spec, _ = load(folder, PERSONAL).draft.to_spec()
    found = {one.name: one.personal for one in spec.deployments}
    # Two views have a column km: each goes by its own name.
    assert found["near"] == ["age", "best_km", "city", "km", "trip_id"]
    assert spec.monitors["near"].ignore == found["near"]
    assert found["scripted"] == ["asked", "city", "km", "trip_id"]
    # Whatever a model made elsewhere reads is among what the project has.
    assert found["bought"] == ["age", "best_km", "city", "km", "phone", "trip_id"]
    assert found["elsewhere"] == ["age"]


def test_a_segment_may_not_be_personal(folder: Path) -> None:
    text = PERSONAL.replace("monitor=lw.Monitor()", 'monitor=lw.Monitor(segments=["city"])')
    with pytest.raises(InvalidInput, match=r"never logged.*field: deployments\.near\.monitor\.segments; value: city"):
        load(folder, text).draft.to_spec()


def test_the_same_files_make_the_same_spec(folder: Path) -> None:
    assert load(folder).draft.to_spec() == load(folder).draft.to_spec()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('trips["km"]', 'trips["kms"]', "no column kms; field: services.near.label"),
        ('"city", "started_at"]', '"town", "started_at"]', "no column town; field: asked.inputs"),
        (
            'request.select("city",',
            'request.select("town",',
            r"asked failed on an empty frame.*town.*field: \w+\.py:[0-9]+; next: mend",
        ),
        ("data/trips.parquet", "data/trip.parquet", "trip.parquet, and no such file is here; next: correct the path"),
        ('env="requirements.lock"', 'env="requirement.lock"', "no such file; field: env"),
        ("tell(load(start))", "tell(load())", "step load is called wrongly"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_sent(before: str, after: str, told: str, folder: Path) -> None:
    project = load(folder, TEXT.replace(before, after))
    with pytest.raises(InvalidInput, match=told):
        project.draft.to_spec()
