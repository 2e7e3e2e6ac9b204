"""The second half of the seed: what serves, what watches it, what waits."""

import math
import random
from typing import Any

import msgspec

from loopwright.governance import approvals, lineage
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.kernel.documents import digest_of
from loopwright.kernel.ids import new_id
from loopwright.loop import sql as loop_sql
from loopwright.loop.types import RetrainRecord
from loopwright.monitoring import sql as monitoring_sql
from loopwright.monitoring.types import (
    Alert,
    FeatureDrift,
    Incident,
    Monitor,
    MonitorSpec,
    Performance,
    PolicyAnswers,
    Window,
)
from loopwright.registry.types import (
    GateSpec,
    Signature,
)
from loopwright.serving import list_rollouts
from loopwright.serving import sql as serving_sql
from loopwright.serving.types import (
    ApproveSpec,
    Deployment,
    DeploymentSpec,
    Release,
    Rollout,
    StepVerdict,
    Variant,
)
from loopwright.store.tx import Tx
from tests.ui.seed_ground import FEATURES, INPUTS, NASTY, NOW, PREDICTION, START, STEPS, WINDOWS


def serving(tx: Tx) -> dict[str, str]:
    """Deployments, releases, rollouts and retrains."""
    spec = DeploymentSpec(
        "late",
        "late",
        "binary",
        [GateSpec("at_least"), GateSpec("beats_champion")],
        STEPS,
        ApproveSpec("person", "policy"),
        ["frozen", "calendar"],
    )
    external = DeploymentSpec("scorecard", "scorecard", "binary", is_external=True)
    unserved = DeploymentSpec("arrival", "arrival", "regression")
    for one in (spec, external, unserved):
        serving_sql.put_deployment(tx, Deployment(tx.project, one.name, one, START, START))
        tx.emit("serving.declared", tx.ref("deployment", one.name), deployment=one.name)
    _releases(tx)
    return {"rollout": _rollouts(tx)}


def _releases(tx: Tx) -> None:
    for number, (champion, candidate, weight) in enumerate(
        [(1, None, 0.0), (1, 2, 0.25), (2, None, 0.0), (3, None, 0.0), (4, None, 0.0), (4, 5, 0.25)], 1
    ):
        at = START + (number - 1) * 40 * DAY_US if number < 6 else NOW - 5 * HOUR_US
        variants = [
            _variant("champion", champion, 1 - weight),
            _variant("frozen", 1, 0, True),
            _variant("calendar", 4, 0, True),
        ]
        variants += [_variant("candidate", candidate, weight)] if candidate else []
        release = Release(
            1,
            tx.project,
            "late",
            number,
            number,
            "binary",
            variants,
            {},
            "flight_id",
            [],
            "champion changed",
            at,
            at,
            "replay",
        )
        serving_sql.insert_release(tx, release, is_rollback=False)
        lineage.link(tx, tx.ref("release", "late", number), "serves", tx.ref("model", "late", champion))
        lineage.link(tx, tx.ref("deployment", "late"), "released_as", tx.ref("release", "late", number))
        shown = [{"version": v.version, "weight": v.weight, "is_shadow": v.is_shadow} for v in variants]
        tx.emit(
            "serving.released", tx.ref("release", "late", number), number=number, variants=shown, reason=release.reason
        )


def _rollouts(tx: Tx) -> str:
    rollout_id = ""
    for number, state in ((2, "done"), (3, "done"), (4, "aborted"), (5, "running")):
        begun = START + (number - 1) * 40 * DAY_US if number < 5 else NOW - 8 * DAY_US
        rollout_id = new_id("roll", tx.wall_us)
        rollout = Rollout(
            rollout_id,
            "late",
            "late",
            number,
            number - 1,
            list(STEPS),
            2 if number != 4 else 1,
            state,
            "policy:retrain",
            "3 features drift: temp, visib, wind_speed",
            NOW - 5 * HOUR_US,
            begun,
            begun,
            None if state == "running" else begun + 8 * DAY_US,
            _verdicts(number),
            "",
            number,
            4,
        )
        serving_sql.insert_rollout(tx, rollout)
        facts = {"deployment": "late", "model": "late", "version": number, "rollout_id": rollout_id, "step": 2}
        what = {"done": "rollout_finished", "aborted": "rollout_aborted", "running": "rollout_step_started"}[state]
        tx.emit(f"serving.{what}", tx.ref("deployment", "late"), reason=rollout.reason, **facts)
        record = RetrainRecord(
            new_id("retr", tx.wall_us),
            "late",
            "exe_x",
            "drift",
            rollout.reason,
            {"done": "promoted", "aborted": "refused", "running": "rolling_out"}[state],
            f"version {number}",
            begun - DAY_US,
            rollout.finished_at,
        )
        loop_sql.insert_retrain(tx, record)
    return rollout_id


def _variant(name: str, version: int, weight: float, is_shadow: bool = False) -> Variant:
    return Variant(
        name,
        "late",
        version,
        "lightgbm",
        [],
        Signature([], "binary"),
        weight,
        is_shadow,
        digest_of(["version", version]),
    )


def _verdicts(number: int) -> list[StepVerdict]:
    harm = "abort" if number == 4 else "go"
    return [
        StepVerdict(2, "error_rate", 0.0002, 0.0002, 0.0, -0.0004, 0.0004, "go", "no evidence of harm", 9_812, NOW),
        StepVerdict(
            2, "latency_p99_ms", 3.8, 4.1, -0.3, -0.55, -0.05, "go", "0.3 ms slower, within the guard", 9_812, NOW
        ),
        StepVerdict(
            2, "roc_auc", 0.7412, 0.7563, 0.0151, 0.0042, 0.026, harm, "better on 4 210 paired labels", 4_210, NOW
        ),
        StepVerdict(
            2, "positive_rate", 0.218, 0.247, 0.029, -0.004, 0.062, "undecided", "needs 1 200 more rows", 9_812, NOW
        ),
    ]


def monitoring(tx: Tx) -> dict[str, str]:
    """Monitors, windows and incidents."""
    spec = MonitorSpec(
        DAY_US, performance="roc_auc", segments=["carrier"], value="25*true_positive - 5*false_positive", unit="USD"
    )
    for name, is_external in (("late", False), ("scorecard", True)):
        monitor = Monitor(
            name,
            spec,
            "binary",
            is_external,
            PolicyAnswers(drift=True),
            digest_of("reference"),
            START,
            None if is_external else 4,
            {"roc_auc": 0.761},
            NOW,
            START,
            START,
        )
        monitoring_sql.save_monitor(tx, monitor)
    for number in range(WINDOWS):
        monitoring_sql.save_window(tx, _window("late", number))
    for number in range(20):
        monitoring_sql.save_window(tx, msgspec.structs.replace(_window("scorecard", number), drift=[], segments={}))
    return _incidents(tx)


def _incidents(tx: Tx) -> dict[str, str]:
    ids = {}
    kinds = [
        ("drift", "temp, visib and wind_speed drift", "warning", "open", False),
        ("data", "weather v40 is quarantined", "critical", "open", True),
        ("latency", "p99 6.1 ms above 5 ms", "warning", "resolved", True),
    ]
    for kind, title, severity, state, needs_person in kinds:
        incident_id = new_id("inc", tx.wall_us)
        at = NOW - 9 * HOUR_US
        resolved = {"resolved_at": NOW - HOUR_US, "resolution": "the cache was warmed"} if state == "resolved" else {}
        subject = tx.ref("deployment", "late") if kind != "data" else tx.ref("dataset", "weather", 40)
        incident = Incident(
            incident_id,
            subject,
            kind,
            title,
            severity,
            state,
            needs_person,
            2,
            "",
            at,
            NOW - 20 * MINUTE_US,
            **resolved,
        )
        monitoring_sql.insert_incident(tx, incident)
        for place in range(2):
            alert = Alert(
                new_id("alert", tx.wall_us),
                subject,
                kind,
                f"{title}, look {place + 1}",
                {"distance": 0.31, "limit": 0.2},
                at,
                incident_id,
            )
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
        return Performance(
            variant,
            "roc_auc",
            known,
            *ends,
            rows - 40 if is_settled else 0,
            rows,
            1500 + 900 * math.sin(number / 9) if is_settled else None,
        )

    late = max(0.0, (number - WINDOWS + 24) / 24)
    drift = []
    for place, feature in enumerate(FEATURES):
        base = abs(chance.gauss(0.02, 0.025)) + (0.09 if place in (3, 9) else 0)
        base += {"temp": 0.27, "visib": 0.21, "wind_speed": 0.16}.get(feature, 0.0) * late
        drift.append(FeatureDrift(feature, base, 0.002 * place, 0.002 * place, rows, base > 0.2, 0.2))
    return Window(
        name,
        start,
        start + DAY_US,
        "settled" if is_settled else "closed",
        rows,
        rows - 40 if is_settled else 0,
        chance.choice([0, 0, 0, 1]),
        3.8 + chance.random(),
        drift,
        [
            quality("champion", served),
            quality("frozen", falls[0] + chance.gauss(0, 0.007)),
            quality("calendar", falls[1] + chance.gauss(0, 0.005)),
        ],
        [quality("champion", served)],
        {
            f"carrier={code}": [quality("champion", served + shift)]
            for code, shift in (("UA", 0.02), ("EV", -0.04), ("B6", 0.004), ("DL", -0.012))
        },
        digest_of(["window", number]),
        start + DAY_US,
        digest_of(["scores", number]),
        digest_of("reference"),
        4,
    )


def waiting(tx: Tx) -> dict[str, str]:
    """Approvals, one of them waiting."""
    asked = approvals.ask(
        tx, tx.ref("deployment", "arrival"), "Release the first version of arrival?", digest_of("first")
    )
    fourth = next(one for one in list_rollouts(tx, deployment="late") if one.version == 4)
    rollout = tx.ref("rollout", fourth.rollout_id)
    old = approvals.ask(tx, rollout, "Release version 4 of late?", digest_of(["version", 4]))
    approvals.approve(tx, approval_id=old.approval_id, reason="gates hold, shadow was better for a week")
    tx.emit("loop.retrain_started", tx.ref("deployment", "late"), reason=NASTY, cause="drift", retrain_id="retr_x")
    return {"approval": asked.approval_id}


def predictions(tx: Tx, blobs: Any) -> dict[str, str]:
    """One served row in a chunk of the prediction log."""
    import io

    import polars as pl

    from loopwright.serving.predictions import PREDICTION_SCHEMA
    from loopwright.store import chunks

    chance = random.Random(3)
    values = {
        f"f.{one.name}": [NASTY if one.name == "dest" else "UA"]
        if one.kind == "category"
        else [round(chance.random() * 9, 3)]
        for one in INPUTS
    }
    values["f.precip"] = [None]
    row = {
        "prediction_id": [PREDICTION],
        "row_key": ["UA-1545-2013-10-08"],
        "release": [5],
        "variant": ["champion"],
        "model_version": [4],
        "is_shadow": [False],
        "event_at": [NOW - HOUR_US],
        "recorded_at": [NOW - HOUR_US],
        "latency_us": [1830],
        "score": [0.3127],
        "answer": [None],
        "error": [None],
        "missing": ['{"precip":"EXPIRED"}'],
        "bucket": [0.31],
    }
    schema = {
        **PREDICTION_SCHEMA,
        **{name: pl.String() if isinstance(value[0], str) else pl.Float64() for name, value in values.items()},
    }
    body = io.BytesIO()
    logged = pl.DataFrame({**row, **values}, schema=schema)
    logged.write_parquet(body)
    kept = blobs.put(body.getvalue())
    place = {"kind": "predictions", "stream": "late", "writer": "gateway-0"}
    chunks.register(tx, chunks=[chunks.describe_chunk(logged, kept, seq=1, **place)])
    return {}
