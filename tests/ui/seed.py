"""A project with a year behind it, as rows of the real tables: what the pages are looked at with."""

import math
import random
from typing import Any

import msgspec

from loopwright.data import sql as data_sql
from loopwright.data.types import (
    CheckResult,
    CheckSpec,
    ColumnSchema,
    DatasetSpec,
    DatasetVersion,
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
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher, approvals, lineage
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US, parse_moment
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.ids import new_id
from loopwright.loop import sql as loop_sql
from loopwright.loop.types import RetrainRecord
from loopwright.monitoring import sql as monitoring_sql
from loopwright.monitoring.types import Alert, FeatureDrift, Incident, Monitor, MonitorSpec, Performance, Window
from loopwright.pipelines import sql as pipelines_sql
from loopwright.pipelines.types import Execution, PipelineSpec, StepSpec
from loopwright.registry import sql as registry_sql
from loopwright.registry.types import (
    Alias,
    Evidence,
    GateReport,
    GateResult,
    GateSpec,
    InputColumn,
    ModelFile,
    ModelVersion,
    Signature,
)
from loopwright.serving import sql as serving_sql
from loopwright.serving.types import (
    ApproveSpec,
    CanaryStep,
    Deployment,
    DeploymentSpec,
    Release,
    Rollout,
    ShadowStep,
    StepVerdict,
    Variant,
)
from loopwright.store.tx import Tx
from loopwright.tracking import sql as tracking_sql
from loopwright.tracking.types import Artifact, Environment, Run, SourceState

PROJECT = "flights"
START = parse_moment("2013-03-01T00:00:00Z")
NOW = parse_moment("2013-10-08T06:00:00Z")
WINDOWS = (NOW - START) // DAY_US
NASTY = "<script>alert('x')</script><img src=x onerror=alert(1)>"
"""Text from outside that must never become markup."""

FEATURES = [
    *("carrier", "origin", "dest", "distance", "hour", "weekday", "temp", "precip", "visib", "wind_speed"),
    *(f"{entity}_{name}_{over}" for entity in ("carrier", "origin") for name in ("late_share", "landed") for over in ("3h", "24h")),
]
INPUTS = [InputColumn(name, "category", ["a", "b"]) if name in ("carrier", "origin", "dest") else InputColumn(name, "number") for name in FEATURES]
STEPS = [ShadowStep(7 * DAY_US, "roc_auc", 0.01), CanaryStep(0.05, 6 * HOUR_US, ["error_rate"]), CanaryStep(0.25, 6 * HOUR_US, ["error_rate"])]
PREDICTION = new_id("pred", NOW - HOUR_US)


def seed(dispatcher: Dispatcher, blobs: Any = None) -> dict[str, str]:
    """Fill the project ``flights``; return the ids that addresses need."""
    dispatcher.call(
        "projects.create",
        {"name": PROJECT, "owner": "ops-ml", "clock": "replay", "clock_at": NOW},
        actor=LOCAL_ACTOR,
        project=SYSTEM,
    )
    ids: dict[str, str] = {"prediction": PREDICTION}
    for part in (_data, _features, _training, _models, _serving, _monitoring, _approvals):
        ids |= dispatcher.write(PROJECT, SERVICE_ACTOR, part) or {}
    if blobs is not None:
        ids |= dispatcher.write(PROJECT, SERVICE_ACTOR, lambda tx: _predictions(tx, blobs)) or {}
    return ids


def _data(tx: Tx) -> None:
    checks = [CheckSpec("not_null", "origin"), CheckSpec("between", "distance", {"low": 0, "high": 6000})]
    flights = DatasetSpec(
        "flights", SourceSpec("parquet", "data/flights/"), ["flight_id"], "scheduled_at", {"is_late": KnownAt("landed_at")}, checks=checks
    )
    weather = DatasetSpec(
        "weather", SourceSpec("parquet", "data/weather/"), ["origin", "observed_at"], "observed_at",
        {"*": KnownAt("observed_at", HOUR_US)}, checks=[CheckSpec("between", "temp", {"low": -20, "high": 120})],
    )  # fmt: skip
    for spec in (flights, weather):
        data_sql.put_dataset(tx.connection, tx.project, spec, START, START)
        for number in range(1, 41):
            is_bad = spec is weather and number == 40
            results = [_check(one, is_bad) for one in spec.checks]
            at = START + (number - 1) * int((NOW - START) / 40)
            version = DatasetVersion(
                spec.name, number, "quarantined" if is_bad else "ready", "append", number - 1 or None,
                digest_of([spec.name, number]), [ColumnSchema(name, "Float64") for name in ("origin", "distance", "temp")],
                [], 1500 * number + 52_000, 90_000 * number, digest_of(["profile", number]), results, at, at,
                "hourly append" if number > 1 else "first import", spec,
            )  # fmt: skip
            data_sql.insert_version(tx.connection, tx.project, version, number)
            ref = tx.ref("dataset", spec.name, number)
            lineage.link(tx, ref, "version_of", tx.ref("dataset", spec.name))
            if is_bad:
                tx.emit("data.version_quarantined", ref, reason=results[0].message, dataset=spec.name, version=number)
            elif number > 36:
                tx.emit("data.version_ready", ref, rows_added=1500, rows=version.rows, dataset=spec.name, version=number)


def _check(check: CheckSpec, is_bad: bool) -> CheckResult:
    message = f"{check.column}: 1 392 of 1 500 rows are below 20, as if measured in Celsius" if is_bad else ""
    samples = [{"origin": NASTY, "temp": 11.2}, {"origin": "JFK", "temp": 9.6}] if is_bad else []
    return CheckResult(check, not is_bad, 1500, 1392 if is_bad else 0, samples, message)


def _features(tx: Tx) -> None:
    late = {"aggregates": [{"name": "late_share", "function": "mean", "column": "is_late"}], "windows_us": [3 * HOUR_US, DAY_US]}
    specs: list[tuple[Any, str, dict[str, Any]]] = [
        ("view", "at_origin", {"dataset": "weather", "entity": "origin", "columns": ["temp", "precip", "visib", "wind_speed"], "ttl_us": 3 * HOUR_US}),
        ("view", "recent_carrier", {"dataset": "flights", "entity": "carrier", **late}),
        ("view", "recent_origin", {"dataset": "flights", "entity": "origin", **late}),
        ("request", "asked", {"inputs": ["scheduled_at", "carrier", "distance"], "outputs": ["hour", "weekday", "distance"]}),
        ("service", "late", {"requests": ["asked"], "views": ["at_origin", "recent_carrier"], "label": {"dataset": "flights", "column": "is_late"}, "task": "binary"}),
    ]  # fmt: skip
    for kind, name, spec in specs:
        features_sql.put_definition(tx.connection, tx.project, Definition(kind, name, digest_of(spec), spec, START, START))
    for place, view in enumerate(("at_origin", "recent_carrier")):
        at = NOW - 20 * MINUTE_US
        fill = Materialization(view, f"{tx.project}/{view}", "flights", 40, 4120 + place, 212, f"job_{place}", at, at)
        features_sql.insert_materialization(tx.connection, tx.project, fill)
    plan = FeaturePlan("late", "scheduled_at", ["flight_id"], [], [], [], FEATURES, LabelSpec("flights", "is_late"), "binary")
    features_sql.insert_plan(tx.connection, tx.project, digest_of("plan"), digest_of("meaning"), plan, START)
    for number in range(1, 6):
        end = START + number * 40 * DAY_US
        spec_of = TrainingSetSpec("late", {"flights": number * 8, "weather": number * 7}, START, end, end)
        made = TrainingSetVersion(
            "late", number, spec_of, digest_of(["set", number]), 5_000_000, 50_000 + number * 9_000, FEATURES, "is_late",
            digest_of("plan"), START, end, end,
        )  # fmt: skip
        features_sql.insert_training_set(tx.connection, tx.project, made)
        ref = tx.ref("training_set", "late", number)
        lineage.link(tx, ref, "joined_from", tx.ref("dataset", "flights", number * 8), tx.ref("dataset", "weather", number * 7))
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
        error = {"code": "step_failed", "message": "fit: only one class in the holdout", "next_step": "widen the holdout"} if is_failed else None
        execution = Execution(
            execution_id, "fit", digest_of(to_builtins(spec)), {"learning_rate": 0.05}, "failed" if is_failed else "done",
            "policy:retrain", "3 features drift: temp, visib, wind_speed", at, wall, wall + 95_000_000, error,
        )  # fmt: skip
        pipelines_sql.insert_execution(tx, execution, steps)
        begin = wall
        for place, step in enumerate(steps[: 2 if is_failed else 6]):
            took = (12, 44, 9, 2, 26, 1)[place] * 1_000_000
            state = "failed" if is_failed and place == 1 else "done"
            pipelines_sql.update_steps(
                tx, execution_id, step=step, state=state, attempt=1 + (is_failed and place), started_at=begin,
                finished_at=begin + took, is_from_cache=place == 0 and number == 3, error=error if state == "failed" else None,
                output={"ref": tx.ref("training_set", "late", min(number, 5))} if place == 0 else {"rows": 5123},
            )  # fmt: skip
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
        run_id, "late", NASTY if number == 127 else f"fit-{number}", "failed" if is_failed else "finished",
        {"learning_rate": round(chance.uniform(0.01, 0.2), 3), "num_leaves": chance.choice([15, 31, 63]), "seed": 7},
        {}, {"team": "ops-ml"}, [tx.ref("training_set", "late", min(number, 5))], [],
        Environment("3.12.3", "linux x86_64", {"lightgbm": "4.7.0", "polars": "2.1.0"}, digest_of("environment")),
        SourceState("9f3ac1e77b01d77a5d65542cafe", number % 5 == 0, digest_of("patch"), digest_of("code")),
        execution_id, at, tx.wall_us - (200 - number) * MINUTE_US,
        tx.wall_us - (200 - number) * MINUTE_US + chance.randint(20, 90) * 1_000_000,
    )  # fmt: skip
    tracking_sql.insert_run(tx.connection, tx.project, run)
    tracking_sql.upsert_artifact(tx.connection, tx.project, run_id, Artifact("model/model.txt", digest_of(number), 812_331))
    points = [("roc_auc", step, at + step, 0.76 - 0.2 * math.exp(-step / 60) + chance.gauss(0, 0.004)) for step in range(600)]
    points += [("log_loss", step, at + step, 0.42 + 0.3 * math.exp(-step / 80) + chance.gauss(0, 0.006)) for step in range(0, 600, 10)]
    tracking_sql.insert_points(tx.connection, tx.project, run_id, points if number in (1, 2, 3, 4, 5, 6, 128) else points[-5:] + points[595:600])
    lineage.link(tx, tx.ref("run", run_id), "read", *run.inputs)
    return run_id


def _models(tx: Tx) -> None:
    for number in range(1, 7):
        at = START + (number - 1) * 40 * DAY_US
        registry_sql.lock_model(tx.connection, tx.project, "late", at)
        registry_sql.next_version(tx.connection, tx.project, "late")
        runs = tracking_sql.search_runs(tx.connection, tx.project, experiment="late", tree=None, order=None, after=None, limit=1)
        version = ModelVersion(
            "late", number, "lightgbm", [ModelFile("model.txt", digest_of(["file", number]), 812_331)], digest_of(["version", number]),
            Signature(INPUTS, "binary", ["false", "true"]), {"roc_auc": 0.741 + number * 0.005, "log_loss": 0.43 - number * 0.002},
            "late", digest_of("plan"), tx.ref("run", runs[0]), tx.ref("training_set", "late", min(number, 5)), digest_of("code"),
            None, "trained", "service:worker", at, at,
        )  # fmt: skip
        registry_sql.insert_version(tx.connection, tx.project, version, None)
        ref = tx.ref("model", "late", number)
        lineage.link(tx, ref, "made_by", version.run)
        lineage.link(tx, ref, "trained_on", version.training_set)
        _report(tx, number, at)
        tx.emit("registry.version_registered", ref, model="late", version=number)
    for alias, number in (("frozen", 1), ("calendar", 4), ("champion", 4), ("challenger", 5)):
        registry_sql.upsert_alias(tx.connection, tx.project, Alias("late", alias, number))


def _report(tx: Tx, number: int, at: int) -> None:
    value, before = 0.741 + number * 0.005, 0.738 + number * 0.004
    is_bad = number == 6
    value = 0.612 if is_bad else value
    evidence = Evidence(
        "late", number, 11_482, {"roc_auc": value, "log_loss": 0.42, "brier": 0.13}, {"roc_auc": [value - 0.011, value + 0.01]},
        number - 1 or None, {"roc_auc": before, "log_loss": 0.431, "brier": 0.134} if number > 1 else None, 0, 0, 1.8, [],
    )  # fmt: skip
    beaten = "failed" if is_bad else "passed"
    results = [
        GateResult(GateSpec("at_least", {"metric": "roc_auc", "least": 0.65}), beaten, f"ROC AUC {value:.3f}, asked for 0.65"),
        GateResult(GateSpec("beats_champion", {"metric": "roc_auc"}), beaten, f"ROC AUC {value:.3f} against {before:.3f} of the champion"),
        GateResult(GateSpec("latency", {"p99_ms": 5}), "passed", "p99 1.8 ms, at most 5 ms"),
    ]
    registry_sql.insert_report(tx.connection, tx.project, GateReport(new_id("gate", at), "late", number, not is_bad, results, evidence, at, at))


def _serving(tx: Tx) -> dict[str, str]:
    spec = DeploymentSpec(
        "late", "late", "binary", [GateSpec("at_least"), GateSpec("beats_champion")], STEPS, ApproveSpec("person", "policy"),
        ["frozen", "calendar"],
    )  # fmt: skip
    external = DeploymentSpec("scorecard", "scorecard", "binary", is_external=True)
    unserved = DeploymentSpec("arrival", "arrival", "regression")
    for one in (spec, external, unserved):
        serving_sql.put_deployment(tx.connection, Deployment(tx.project, one.name, one, START, START))
        tx.emit("serving.declared", tx.ref("deployment", one.name), deployment=one.name)
    rollout_id = ""
    for number, (champion, candidate, weight) in enumerate([(1, None, 0.0), (1, 2, 0.25), (2, None, 0.0), (3, None, 0.0), (4, None, 0.0), (4, 5, 0.25)], 1):
        at = START + (number - 1) * 40 * DAY_US if number < 6 else NOW - 5 * HOUR_US
        variants = [_variant("champion", champion, 1 - weight), _variant("frozen", 1, 0, True), _variant("calendar", 4, 0, True)]
        variants += [_variant("candidate", candidate, weight)] if candidate else []
        release = Release(
            1, tx.project, "late", number, number, "binary", variants, {}, "flight_id", [], "champion changed", at, at, "replay"
        )
        serving_sql.insert_release(tx.connection, release, is_rollback=False)
        lineage.link(tx, tx.ref("release", "late", number), "serves", tx.ref("model", "late", champion))
        lineage.link(tx, tx.ref("deployment", "late"), "released_as", tx.ref("release", "late", number))
        shown = [{"version": v.version, "weight": v.weight, "is_shadow": v.is_shadow} for v in variants]
        tx.emit("serving.released", tx.ref("release", "late", number), number=number, variants=shown, reason=release.reason)
    for number, state in ((2, "done"), (3, "done"), (4, "aborted"), (5, "running")):
        begun = START + (number - 1) * 40 * DAY_US if number < 5 else NOW - 8 * DAY_US
        rollout_id = new_id("roll", tx.wall_us)
        rollout = Rollout(
            rollout_id, "late", "late", number, number - 1, list(STEPS), 2 if number != 4 else 1, state, "policy:retrain",
            "3 features drift: temp, visib, wind_speed", NOW - 5 * HOUR_US, begun, begun,
            None if state == "running" else begun + 8 * DAY_US, _verdicts(number), "", number, 4,
        )  # fmt: skip
        serving_sql.insert_rollout(tx.connection, tx.project, rollout)
        facts = {"deployment": "late", "model": "late", "version": number, "rollout_id": rollout_id, "step": 2}
        what = {"done": "rollout_finished", "aborted": "rollout_aborted", "running": "rollout_step_started"}[state]
        tx.emit(f"serving.{what}", tx.ref("deployment", "late"), reason=rollout.reason, **facts)
        record = RetrainRecord(
            new_id("retr", tx.wall_us), "late", "exe_x", "drift", rollout.reason,
            {"done": "promoted", "aborted": "refused", "running": "rolling_out"}[state], f"version {number}", begun - DAY_US, rollout.finished_at,
        )  # fmt: skip
        loop_sql.insert_retrain(tx, record)
    return {"rollout": rollout_id}


def _variant(name: str, version: int, weight: float, is_shadow: bool = False) -> Variant:
    return Variant(name, "late", version, "lightgbm", [], Signature([], "binary"), weight, is_shadow, digest_of(["version", version]))


def _verdicts(number: int) -> list[StepVerdict]:
    harm = "abort" if number == 4 else "go"
    return [
        StepVerdict(2, "error_rate", 0.0002, 0.0002, 0.0, -0.0004, 0.0004, "go", "no evidence of harm", 9_812, NOW),
        StepVerdict(2, "latency_p99_ms", 3.8, 4.1, -0.3, -0.55, -0.05, "go", "0.3 ms slower, within the guard", 9_812, NOW),
        StepVerdict(2, "roc_auc", 0.7412, 0.7563, 0.0151, 0.0042, 0.026, harm, "better on 4 210 paired labels", 4_210, NOW),
        StepVerdict(2, "positive_rate", 0.218, 0.247, 0.029, -0.004, 0.062, "undecided", "needs 1 200 more rows", 9_812, NOW),
    ]


def _monitoring(tx: Tx) -> dict[str, str]:
    spec = MonitorSpec(DAY_US, performance="roc_auc", segments=["carrier"], value="25*true_positive - 5*false_positive", unit="USD")
    for name, is_external in (("late", False), ("scorecard", True)):
        monitor = Monitor(
            name, spec, "binary", is_external, True, digest_of("reference"), START, None if is_external else 4,
            {"roc_auc": 0.761}, NOW, START, START,
        )  # fmt: skip
        monitoring_sql.save_monitor(tx, monitor)
    for number in range(WINDOWS):
        monitoring_sql.save_window(tx, _window("late", number))
    for number in range(20):
        monitoring_sql.save_window(tx, msgspec.structs.replace(_window("scorecard", number), drift=[], segments={}))
    ids = {}
    kinds = [("drift", "temp, visib and wind_speed drift", "warning", "open", False), ("data", "weather v40 is quarantined", "critical", "open", True),
             ("latency", "p99 6.1 ms above 5 ms", "warning", "resolved", True)]  # fmt: skip
    for kind, title, severity, state, needs_person in kinds:
        incident_id = new_id("inc", tx.wall_us)
        at = NOW - 9 * HOUR_US
        resolved = {"resolved_at": NOW - HOUR_US, "resolution": "the cache was warmed"} if state == "resolved" else {}
        subject = tx.ref("deployment", "late") if kind != "data" else tx.ref("dataset", "weather", 40)
        incident = Incident(incident_id, subject, kind, title, severity, state, needs_person, 2, "", at, NOW - 20 * MINUTE_US, **resolved)
        monitoring_sql.insert_incident(tx, incident)
        for place in range(2):
            alert = Alert(new_id("alert", tx.wall_us), subject, kind, f"{title}, look {place + 1}", {"distance": 0.31, "limit": 0.2}, at, incident_id)
            monitoring_sql.insert_alert(tx, alert, f"{incident_id}/{place}")
        tx.emit("monitoring.incident_opened", subject, reason=title, title=title, incident_id=incident_id, kind=kind)
        ids[f"{state}_incident"] = incident_id
    ids["incident"] = ids.pop("open_incident")
    return ids


def _window(name: str, number: int) -> Window:
    chance = random.Random(number)
    start = START + number * DAY_US
    is_settled = number < WINDOWS - 2
    rows = 880 + int(60 * math.sin(number / 1.1)) + chance.randint(-20, 20)
    served = 0.752 + 0.012 * math.sin(number / 17) + chance.gauss(0, 0.006)
    falls = [0.74 - 0.00028 * number, 0.757 + 0.01 * math.sin(number / 17)]

    def quality(variant: str, value: float) -> Performance:
        known = value if is_settled else None
        ends = (value - 0.021, value + 0.02) if is_settled else (None, None)
        return Performance(variant, "roc_auc", known, *ends, rows - 40 if is_settled else 0, rows, 1500 + 900 * math.sin(number / 9) if is_settled else None)

    late = max(0.0, (number - WINDOWS + 24) / 24)
    drift = []
    for place, feature in enumerate(FEATURES):
        base = abs(chance.gauss(0.02, 0.025)) + (0.09 if place in (3, 9) else 0)
        base += {"temp": 0.27, "visib": 0.21, "wind_speed": 0.16}.get(feature, 0.0) * late
        drift.append(FeatureDrift(feature, base, 0.002 * place, 0.002 * place, rows, base > 0.2, 0.2))
    return Window(
        name, start, start + DAY_US, "settled" if is_settled else "closed", rows, rows - 40 if is_settled else 0,
        chance.choice([0, 0, 0, 1]), 3.8 + chance.random(), drift,
        [quality("champion", served), quality("frozen", falls[0] + chance.gauss(0, 0.007)), quality("calendar", falls[1] + chance.gauss(0, 0.005))],
        [quality("champion", served)], {f"carrier={code}": [quality("champion", served + shift)] for code, shift in (("UA", 0.02), ("EV", -0.04), ("B6", 0.004), ("DL", -0.012))},
        digest_of(["window", number]), start + DAY_US, digest_of(["scores", number]), digest_of("reference"), 4,
    )  # fmt: skip


def _approvals(tx: Tx) -> dict[str, str]:
    asked = approvals.ask(tx, tx.ref("deployment", "arrival"), "Release the first version of arrival?", digest_of("first"))
    old = approvals.ask(tx, tx.ref("deployment", "late"), "Release version 4 of late?", digest_of(["version", 4]))
    approvals.approve(tx, approval_id=old.approval_id, reason="gates hold, shadow was better for a week")
    tx.emit("loop.retrain_started", tx.ref("deployment", "late"), reason=NASTY, cause="drift", retrain_id="retr_x")
    return {"approval": asked.approval_id}


def _predictions(tx: Tx, blobs: Any) -> dict[str, str]:
    import io

    import polars as pl

    from loopwright.serving.predictions import PREDICTION_SCHEMA
    from loopwright.store import chunks

    chance = random.Random(3)
    values = {f"f.{one.name}": [NASTY if one.name == "dest" else "UA"] if one.kind == "category" else [round(chance.random() * 9, 3)] for one in INPUTS}
    values["f.precip"] = [None]
    row = {
        "prediction_id": [PREDICTION], "row_key": ["UA-1545-2013-10-08"], "release": [5], "variant": ["champion"], "model_version": [4],
        "is_shadow": [False], "event_at": [NOW - HOUR_US], "recorded_at": [NOW - HOUR_US], "latency_us": [1830], "score": [0.3127],
        "answer": [None], "error": [None], "missing": ['{"precip":"EXPIRED"}'], "bucket": [0.31],
    }  # fmt: skip
    schema = {**PREDICTION_SCHEMA, **{name: pl.String() if isinstance(value[0], str) else pl.Float64() for name, value in values.items()}}
    body = io.BytesIO()
    pl.DataFrame({**row, **values}, schema=schema).write_parquet(body)
    kept = blobs.put(body.getvalue())
    chunks.register(
        tx, kind="predictions", stream="late", writer="gateway-0", seq=1, digest=kept.digest, rows=1, size_bytes=kept.size_bytes,
        id_first=PREDICTION, id_last=PREDICTION, event_at_min=NOW - HOUR_US, event_at_max=NOW - HOUR_US,
    )  # fmt: skip
    return {}
