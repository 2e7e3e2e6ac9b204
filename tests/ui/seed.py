"""A project with a year behind it, as rows of the real tables: what the pages are looked at with."""

import math
import random
from typing import Any

import polars as pl

from loopwright.data import profiles
from loopwright.data import sql as data_sql
from loopwright.data.types import (
    CheckResult,
    CheckSpec,
    ColumnSchema,
    DatasetSpec,
    DatasetVersion,
    Fragment,
    KnownAt,
    SourceSpec,
)
from loopwright.features import sql as features_sql
from loopwright.features.types import (
    Definition,
    FeaturePlan,
    LabelSpec,
    Materialization,
    TrainingSetSpec,
    TrainingSetVersion,
)
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher, lineage
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.ids import new_id
from loopwright.pipelines import sql as pipelines_sql
from loopwright.pipelines.types import Execution, PipelineSpec, StepSpec
from loopwright.registry import sql as registry_sql
from loopwright.registry.types import (
    Alias,
    Evidence,
    GateReport,
    GateResult,
    GateSpec,
    ModelFile,
    ModelVersion,
    Signature,
)
from loopwright.store.tx import Tx
from loopwright.tracking import sql as tracking_sql
from loopwright.tracking.types import Artifact, Environment, Run, SourceState
from tests.ui.seed_ground import FEATURES, INPUTS, NASTY, NOW, PREDICTION, PROJECT, START
from tests.ui.seed_serving import monitoring, predictions, serving, waiting

OBSERVED = pl.DataFrame({"origin": ["JFK"] * 40, "distance": [100.0] * 40, "temp": [None] * 7 + [50.0] * 33})
"""What the profile of every version was made from."""


def seed(dispatcher: Dispatcher, blobs: Any = None) -> dict[str, str]:
    """Fill the project ``flights``; return the ids that addresses need."""
    dispatcher.call(
        "projects.create",
        {"name": PROJECT, "owner": "ops-ml", "clock": "replay", "clock_at": NOW},
        actor=LOCAL_ACTOR,
        project=SYSTEM,
    )
    ids: dict[str, str] = {"prediction": PREDICTION}
    profile = "" if blobs is None else blobs.put(profiles.to_bytes(profiles.profile_frame(OBSERVED))).digest
    dispatcher.write(PROJECT, SERVICE_ACTOR, lambda tx: _data(tx, profile))
    for part in (_features, _training, _models, serving, monitoring, waiting):
        ids |= dispatcher.write(PROJECT, SERVICE_ACTOR, part) or {}
    if blobs is not None:
        ids |= dispatcher.write(PROJECT, SERVICE_ACTOR, lambda tx: predictions(tx, blobs)) or {}
    return ids


def _data(tx: Tx, profile: str) -> None:
    checks = [CheckSpec("not_null", "origin"), CheckSpec("between", "distance", {"low": 0, "high": 6000})]
    flights = DatasetSpec(
        "flights",
        SourceSpec("parquet", "data/flights/"),
        ["flight_id"],
        "scheduled_at",
        {"is_late": KnownAt("landed_at")},
        checks=checks,
    )
    weather = DatasetSpec(
        "weather",
        SourceSpec("parquet", "data/weather/"),
        ["origin", "observed_at"],
        "observed_at",
        {"*": KnownAt("observed_at", HOUR_US)},
        checks=[CheckSpec("between", "temp", {"low": -20, "high": 120})],
    )
    for spec in (flights, weather):
        data_sql.put_dataset(tx, spec, START, START)
        for number in range(1, 41):
            is_bad = spec is weather and number == 40
            results = [_check(one, is_bad) for one in spec.checks]
            at = START + (number - 1) * int((NOW - START) / 40)
            version = DatasetVersion(
                spec.name,
                number,
                "quarantined" if is_bad else "ready",
                "append",
                number - 1 or None,
                digest_of([spec.name, number]),
                [ColumnSchema(name, "Float64") for name in ("origin", "distance", "temp")],
                [Fragment(digest_of(["file", part]), 90_000, 1500, at - HOUR_US, at) for part in range(min(number, 3))],
                1500 * number + 52_000,
                90_000 * number,
                profile or digest_of(["profile", number]),
                results,
                at,
                at,
                "hourly append" if number > 1 else "first import",
                spec,
            )
            data_sql.insert_version(tx, version, number)
            ref = tx.ref("dataset", spec.name, number)
            lineage.link(tx, ref, "version_of", tx.ref("dataset", spec.name))
            if is_bad:
                tx.emit("data.version_quarantined", ref, reason=results[0].message, dataset=spec.name, version=number)
            elif number > 36:
                tx.emit(
                    "data.version_ready", ref, rows_added=1500, rows=version.rows, dataset=spec.name, version=number
                )


def _check(check: CheckSpec, is_bad: bool) -> CheckResult:
    message = f"{check.column}: 1 392 of 1 500 rows are below 20, as if measured in Celsius" if is_bad else ""
    samples = [{"origin": NASTY, "temp": 11.2}, {"origin": "JFK", "temp": 9.6}] if is_bad else []
    return CheckResult(check, not is_bad, 1500, 1392 if is_bad else 0, samples, message)


def _features(tx: Tx) -> None:
    late = {
        "aggregates": [{"name": "late_share", "function": "mean", "column": "is_late"}],
        "windows_us": [3 * HOUR_US, DAY_US],
    }
    specs: list[tuple[Any, str, dict[str, Any]]] = [
        (
            "view",
            "at_origin",
            {
                "dataset": "weather",
                "entity": "origin",
                "columns": ["temp", "precip", "visib", "wind_speed"],
                "ttl_us": 3 * HOUR_US,
            },
        ),
        ("view", "recent_carrier", {"dataset": "flights", "entity": "carrier", **late}),
        ("view", "recent_origin", {"dataset": "flights", "entity": "origin", **late}),
        (
            "request",
            "asked",
            {"inputs": ["scheduled_at", "carrier", "distance"], "outputs": ["hour", "weekday", "distance"]},
        ),
        (
            "service",
            "late",
            {
                "requests": ["asked"],
                "views": ["at_origin", "recent_carrier"],
                "label": {"dataset": "flights", "column": "is_late"},
                "task": "binary",
            },
        ),
    ]
    for kind, name, spec in specs:
        features_sql.put_definition(tx, Definition(kind, name, digest_of(spec), spec, START, START))
    for place, view in enumerate(("at_origin", "recent_carrier")):
        at = NOW - 20 * MINUTE_US
        fill = Materialization(view, f"{tx.project}/{view}", "flights", 40, 4120 + place, 212, f"job_{place}", at, at)
        features_sql.insert_materialization(tx, fill)
    plan = FeaturePlan(
        "late", "scheduled_at", ["flight_id"], [], [], [], FEATURES, LabelSpec("flights", "is_late"), "binary"
    )
    features_sql.insert_plan(tx, digest_of("plan"), digest_of("meaning"), plan, START)
    _training_sets(tx)


def _training_sets(tx: Tx) -> None:
    for number in range(1, 6):
        end = START + number * 40 * DAY_US
        spec_of = TrainingSetSpec("late", {"flights": number * 8, "weather": number * 7}, START, end, end)
        made = TrainingSetVersion(
            "late",
            number,
            spec_of,
            digest_of(["set", number]),
            5_000_000,
            50_000 + number * 9_000,
            FEATURES,
            "is_late",
            digest_of("plan"),
            START,
            end,
            end,
        )
        features_sql.insert_training_set(tx, made)
        ref = tx.ref("training_set", "late", number)
        lineage.link(
            tx, ref, "joined_from", tx.ref("dataset", "flights", number * 8), tx.ref("dataset", "weather", number * 7)
        )
        lineage.link(tx, ref, "defined_by", tx.ref("feature_service", "late"))


def _training(tx: Tx) -> dict[str, str]:
    ids: dict[str, str] = {}
    steps = ["training_set", "fit", "evaluate", "gates", "refit", "register"]
    spec = PipelineSpec("fit", [StepSpec(name, "call") for name in steps])
    pipelines_sql.put_pipeline(tx, digest_of(to_builtins(spec)), spec)
    wall = tx.wall_us - 3 * HOUR_US
    for number in range(1, 7):
        at = START + number * 33 * DAY_US
        execution_id = new_id("exe", wall + number)
        is_failed = number == 6
        error = (
            {"code": "step_failed", "message": "fit: only one class in the holdout", "next_step": "widen the holdout"}
            if is_failed
            else None
        )
        execution = Execution(
            execution_id,
            "fit",
            digest_of(to_builtins(spec)),
            {"learning_rate": 0.05},
            "failed" if is_failed else "done",
            "policy:retrain",
            "3 features drift: temp, visib, wind_speed",
            at,
            wall,
            wall + 95_000_000,
            error,
        )
        pipelines_sql.insert_execution(tx, execution, steps)
        begin = wall
        for place, step in enumerate(steps[: 2 if is_failed else 6]):
            took = (12, 44, 9, 2, 26, 1)[place] * 1_000_000
            state = "failed" if is_failed and place == 1 else "done"
            pipelines_sql.update_steps(
                tx,
                execution_id,
                step=step,
                state=state,
                attempt=1 + (is_failed and place),
                started_at=begin,
                finished_at=begin + took,
                is_from_cache=place == 0 and number == 3,
                error=error if state == "failed" else None,
                output={"ref": tx.ref("training_set", "late", min(number, 5))} if place == 0 else {"rows": 5123},
            )
            begin += took
        ids["execution"] = ids.get("execution", execution_id)
        ids["failed_execution"] = execution_id
        ids["run"] = _run(tx, number, execution_id, at, is_failed)
    for number in range(7, 130):
        _run(tx, number, None, START + number * DAY_US, number % 17 == 0)
    return ids


def _run(tx: Tx, number: int, execution_id: str | None, at: int, is_failed: bool) -> str:
    chance = random.Random(number)
    run_id = new_id("run", tx.wall_us - (200 - number) * MINUTE_US)
    run = Run(
        run_id,
        "late",
        NASTY if number == 127 else f"fit-{number}",
        "failed" if is_failed else "finished",
        {"learning_rate": round(chance.uniform(0.01, 0.2), 3), "num_leaves": chance.choice([15, 31, 63]), "seed": 7},
        {},
        {"team": "ops-ml"} | ({"execution": execution_id} if execution_id else {}),
        [tx.ref("training_set", "late", min(number, 5))],
        [],
        Environment("3.12.3", "linux x86_64", {"lightgbm": "4.7.0", "polars": "2.1.0"}, digest_of("environment")),
        SourceState("9f3ac1e77b01d77a5d65542cafe", number % 5 == 0, digest_of("patch"), digest_of("code")),
        execution_id,
        at,
        tx.wall_us - (200 - number) * MINUTE_US,
        tx.wall_us - (200 - number) * MINUTE_US + chance.randint(20, 90) * 1_000_000,
    )
    tracking_sql.insert_run(tx, run)
    tracking_sql.upsert_artifact(tx, run_id, Artifact("model/model.txt", digest_of(number), 812_331))
    points = [
        ("roc_auc", step, at + step, 0.76 - 0.2 * math.exp(-step / 60) + chance.gauss(0, 0.004)) for step in range(600)
    ]
    points += [
        ("log_loss", step, at + step, 0.42 + 0.3 * math.exp(-step / 80) + chance.gauss(0, 0.006))
        for step in range(0, 600, 10)
    ]
    tracking_sql.insert_points(
        tx,
        run_id,
        [*(points if number in (1, 2, 3, 4, 5, 6, 128) else points[-5:] + points[595:600]), ("seconds", 0, at, 41.5)],
    )
    lineage.link(tx, tx.ref("run", run_id), "read", *run.inputs)
    return run_id


def _models(tx: Tx) -> None:
    for number in range(1, 7):
        at = START + (number - 1) * 40 * DAY_US
        registry_sql.lock_model(tx, "late", at)
        registry_sql.next_version(tx, "late")
        runs = tracking_sql.search_runs(tx, experiment="late", tree=None, order=None, after=None, limit=1)
        version = ModelVersion(
            "late",
            number,
            "lightgbm",
            [ModelFile("model.txt", digest_of(["file", number]), 812_331)],
            digest_of(["version", number]),
            Signature(INPUTS, "binary", ["false", "true"]),
            {"roc_auc": 0.741 + number * 0.005, "log_loss": 0.43 - number * 0.002},
            "late",
            digest_of("plan"),
            tx.ref("run", runs[0]),
            tx.ref("training_set", "late", min(number, 5)),
            digest_of("code"),
            4 if number == 5 else None,
            "trained",
            "service:worker",
            at,
            at,
        )
        registry_sql.insert_version(tx, version, None)
        ref = tx.ref("model", "late", number)
        lineage.link(tx, ref, "made_by", version.run)
        lineage.link(tx, ref, "trained_on", version.training_set)
        _report(tx, number, at)
        tx.emit("registry.version_registered", ref, model="late", version=number)
    for alias, number in (("frozen", 1), ("calendar", 4), ("champion", 4), ("challenger", 5)):
        registry_sql.upsert_alias(tx, Alias("late", alias, number))


def _report(tx: Tx, number: int, at: int) -> None:
    value, before = 0.741 + number * 0.005, 0.738 + number * 0.004
    is_bad = number == 6
    value = 0.612 if is_bad else value
    evidence = Evidence(
        "late",
        number,
        11_482,
        {"roc_auc": value, "log_loss": 0.42, "brier": 0.13},
        {"roc_auc": [value - 0.011, value + 0.01]},
        number - 1 or None,
        {"roc_auc": before, "log_loss": 0.431, "brier": 0.134} if number > 1 else None,
        0,
        0,
        1.8,
        [],
    )
    beaten = "failed" if is_bad else "passed"
    results = [
        GateResult(
            GateSpec("at_least", {"metric": "roc_auc", "least": 0.65}), beaten, f"ROC AUC {value:.3f}, asked for 0.65"
        ),
        GateResult(
            GateSpec("beats_champion", {"metric": "roc_auc"}),
            beaten,
            f"ROC AUC {value:.3f} against {before:.3f} of the champion",
        ),
        GateResult(GateSpec("latency", {"p99_ms": 5}), "passed", "p99 1.8 ms, at most 5 ms"),
    ]
    registry_sql.insert_report(
        tx, GateReport(new_id("gate", at), "late", number, not is_bad, results, evidence, at, at)
    )
