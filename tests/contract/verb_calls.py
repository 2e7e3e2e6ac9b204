"""A small state in which nearly every verb that changes something can be called, and such a call of each."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from loopwright.data import CheckResult, CheckSpec, Fragment, ImportedRows
from loopwright.data.fingerprints import row_hashes, sum_rows
from loopwright.features import RequestSpec, TrainingSetSpec
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Actor, RefusedCall
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.lanes import LANES
from loopwright.monitoring import Window
from loopwright.pipelines.types import Claim, PipelineSpec, StepSpec
from loopwright.registry import InputColumn, ModelFile, Signature
from loopwright.serving import ApproveSpec, DeploymentSpec
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.types import StoredChunk
from loopwright.store.work import JOBS
from tests.loop.conftest import BY_POLICY, CODE, LATE, PROJECT, RECENT, Importer, Loop, end_job

ASKED = DeploymentSpec("asked", "late", "binary", rollout=LATE.rollout, approve=ApproveSpec("person", "person"))
DEAF = msgspec.structs.replace(PROJECT.monitors["late"], above=9.0)
NIGHTLY = PipelineSpec("nightly", [StepSpec("load", "call", {}, CODE)], schedule_us=DAY_US)
LEFT_OUT = {
    "data.ask_to_loosen": "asks as serving.ask_to_loosen does",
    "chunks.start_compaction": "starts the one job of its kind, as retention and fills do",
    "chunks.tell_merged": "appends one event",
    "chunks.set_profile": "one update of one row, which says so where merging or retention took that row",
    "loop.start_backtest": "starts a job, as loop.start_export does",
    "loop.begin_backtest": "of a running job alone",
    "loop.finish_backtest": "of a running job alone",
    "loop.start_tidying": "starts the one job of its kind",
    "loop.start_label_feed": "starts a job, as loop.start_export does",
    "loop.start_label_match": "starts the one job of its kind",
    "loop.finish_label_match": "of a running job alone",
    "loop.start_push_feed": "starts a job, as loop.start_export does",
    "data.start_scheduled_import": "starts a job, as loop.start_export does",
    "loop.take_pushes": "starts a job, as loop.start_export does",
    "loop.finish_push_feed": "of a running job alone",
    "loop.start_closing_table": "starts a job, as loop.start_export does",
    "monitoring.start_profiling": "starts the one job of its kind",
    "projects.create": "one row of its own name, which the database keeps unique",
    "projects.close": "loop.close_project calls it",
    "projects.delete": "loop.delete_project calls it",
    "projects.forget_rows": "deletes rows of projects that are deleted already",
    "projects.set_clock": "of a replay project, whose clock one caller moves",
    "pipelines.advance": "of a running attempt alone; tests/pipelines/test_step_runs.py plays late and double calls",
    "features.finish_materialize": "of a running job alone",
    "serving.finish_score": "of a running job alone",
    "loop.delete_project": "of a closed project, in which no other verb is taken",
    "loop.start_evaluation": "starts a job, as loop.start_export does",
    "loop.note_restored": "of a database that nobody is on yet",
    "loop.finish_skew_audit": "of a running job alone",
    "loop.start_replay": "starts a job, as loop.start_export does",
}
"""Verbs that change something and are not called here, and why."""
SIGNATURE = Signature([InputColumn("recent", "number")], "binary")


@dataclass(frozen=True)
class VerbCall:
    """One call that succeeds in the prepared state."""

    verb: str
    args: dict[str, Any]
    actor: Actor = field(default=LOCAL_ACTOR)
    project: str = "flights"

    def __str__(self) -> str:
        return self.verb


@dataclass
class Prepared:
    """Names of what is in the prepared state."""

    ids: dict[str, str]
    loop: Loop

    def calls(self) -> list[VerbCall]:
        """Return one call of each verb, and of some verbs on each of two objects."""
        return [*self._by_people(), *self._of_served(), *self._by_the_platform(), *self._of_workers()]

    def _by_people(self) -> list[VerbCall]:
        ids, reason = self.ids, {"reason": "a person wants it"}
        stored = self.loop.blobs.put(b"model of a pair")
        asked: list[tuple[str, dict[str, Any]]] = [
            ("jobs.cancel", {"job_id": ids["running"], **reason}),
            ("jobs.retry", {"job_id": ids["failed"], **reason}),
            ("jobs.dismiss", {"job_id": ids["failed"], **reason}),
            ("tokens.create", {"actor": "person:ana", "role": "editor"}),
            ("tokens.revoke", {"token_id": ids["token"]}),
            ("approvals.approve", {"approval_id": ids["approval"], **reason}),
            ("approvals.reject", {"approval_id": ids["approval"], **reason}),
            ("data.declare", {"spec": msgspec.structs.replace(PROJECT.datasets[0], name="more")}),
            ("data.start_import", {"dataset": "flights", "blobs": [self.loop.blobs.put(b"rows of a pair")]}),
            ("data.start_diff", {"dataset": "flights", "before": 1, "after": 2}),
            ("data.restore", {"dataset": "flights", "version": 1, "reason": "the second was a hoax"}),
            ("data.tag", {"dataset": "flights", "version": 1, "tag": "first", **reason}),
            ("data.tag", {"dataset": "flights", "version": 2, "tag": "gold", **reason}),
            ("data.untag", {"dataset": "flights", "tag": "gold", **reason}),
            ("data.release_quarantine", {"dataset": "flights", "version": 3, **reason}),
            ("retention.set", {"kind": "predictions", "keep": "30d", **reason}),
            ("retention.apply", {}),
            ("pipelines.declare", {"spec": msgspec.structs.replace(NIGHTLY, params={"depth": 3})}),
            ("pipelines.retry", {"execution_id": ids["failed_execution"], **reason}),
            ("features.declare_request", {"spec": RequestSpec("hour", ["at"], ["hour"], CODE)}),
            ("registry.force_gates", {"model": "late", "version": 3, **reason}),
            ("serving.retire", {"deployment": "free", **reason}),
            ("monitoring.ask_to_loosen", {"deployment": "late", "spec": DEAF, **reason}),
            ("loop.ask_to_loosen", {"deployment": "late", "policy": None, **reason}),
            ("serving.ask_to_loosen", {"spec": msgspec.structs.replace(ASKED, approve=BY_POLICY), **reason}),
            ("serving.resume", {"rollout_id": ids["paused"], **reason}),
            ("monitoring.start_reference", {"deployment": "late", "blob": stored}),
            ("loop.close_project", reason),
            ("pipelines.start", {"pipeline": "fit", "params": {}, **reason}),
            ("pipelines.cancel", {"execution_id": ids["execution"], **reason}),
            ("features.declare_view", {"spec": msgspec.structs.replace(RECENT, windows_us=[4 * HOUR_US])}),
            ("features.declare_service", {"spec": msgspec.structs.replace(PROJECT.services[0], name="later")}),
            ("features.freeze_plan", {"service": "late"}),
            ("features.start_materialize", {"view": "recent"}),
            ("tracking.start_run", {"experiment": "new"}),
            ("tracking.log", {"run_id": ids["run"], "metrics": {"loss": 0.5}, "step": 3}),
            ("tracking.log_batch", {"run_id": ids["run"], "params": {"depth": 3}}),
            ("tracking.set_tags", {"run_id": ids["run"], "tags": {"kind": "pair"}}),
            ("tracking.finish_run", {"run_id": ids["run"]}),
            ("tracking.log_artifact", {"run_id": ids["run"], "path": "a.txt", **_named(stored)}),
            ("registry.set_alias", {"model": "late", "alias": "champion", "version": 2, **reason}),
            ("registry.set_alias", {"model": "late", "alias": "favourite", "version": 1, **reason}),
            ("registry.remove_alias", {"model": "late", "alias": "favourite", **reason}),
            ("deletion.delete", {"ref": "model:late/3", **reason}),
            ("deletion.delete", {"ref": "model:late/4", **reason}),
            ("registry.set_alias", {"model": "late", "alias": "spare", "version": 4, **reason}),
            ("deletion.delete", {"ref": "experiment:old", **reason}),
            ("tracking.start_run", {"experiment": "old"}),
        ]
        return [VerbCall(verb, plain(args)) for verb, args in asked]

    def _of_served(self) -> list[VerbCall]:
        ids, reason = self.ids, {"reason": "a person wants it"}
        stored = self.loop.blobs.put(b"model of a pair")
        model_files = [ModelFile("model.json", stored.digest, stored.size_bytes)]
        asked: list[tuple[str, dict[str, Any]]] = [
            ("serving.declare", {"spec": msgspec.structs.replace(LATE, timeout_us=1_000_000)}),
            ("serving.start_rollout", {"deployment": "free", "version": 3, **reason}),
            ("serving.pause", {"rollout_id": ids["rollout"], **reason}),
            ("serving.abort", {"rollout_id": ids["rollout"], **reason}),
            ("serving.start_score", {"deployment": "late", "input": stored, "id_column": "id"}),
            ("monitoring.declare", {"deployment": "late", "spec": PROJECT.monitors["late"]}),
            ("monitoring.acknowledge", {"incident_id": ids["incident"], **reason}),
            ("monitoring.assign", {"incident_id": ids["incident"], "owner": "ana"}),
            ("monitoring.resolve", {"incident_id": ids["incident"], **reason}),
            ("monitoring.evaluate_range", {"deployment": "late", "start_at": 0, "end_at": 3 * DAY_US}),
            ("loop.start_retrain", {"deployment": "late", **reason}),
            ("loop.start_retrain", {"deployment": "free", **reason}),
            ("loop.apply", {"spec": PROJECT}),
            ("loop.start_export", {"deployment": "late", "start_at": 0, "end_at": DAY_US}),
            ("loop.start_skew_audit", {"deployment": "late"}),
            ("loop.deploy", {"deployment": "free", "version": 2, **reason}),
            ("loop.rollback", {"deployment": "late", **reason}),
            ("registry.import_model", {"model": "late", "flavour": "constant", "files": model_files, **_signed()}),
        ]
        return [VerbCall(verb, plain(args)) for verb, args in asked]

    def _by_the_platform(self) -> list[VerbCall]:
        ids, at = self.ids, self.loop.wall.at_us
        day = at - at % DAY_US
        stored = self.loop.blobs.put(b"model of the platform")
        spec = TrainingSetSpec("late", {"flights": 2}, None, at, at)
        set_facts = {"rows": 3, "plan_digest": ids["plan"], "event_at_min": 1, "event_at_max": 9}
        window = Window("late", day, day + DAY_US, "closed", *(9, 9, 0, 5.0, [], [], [], {}, "", at))
        judged = {"metric": "roc_auc", "verdict": "go", "message": "better", "rows": 500, "at_us": at + 30 * DAY_US}
        measured = {"champion": 0.7, "candidate": 0.8, "difference": 0.1, "low": 0.05, "high": 0.15}
        look = {"rollout_id": ids["rollout"], "step": 0, "look": 1}
        alert = {"subject": "flights/deployment:late", "kind": "drift", "message": "3 features drift", "at": at}
        model_files = [ModelFile("model.json", stored.digest, stored.size_bytes)]
        asked: list[tuple[str, dict[str, Any]]] = [
            ("features.record_training_set", {"spec": spec, "blob": stored, **set_facts}),
            (
                "registry.register",
                {"model": "late", "flavour": "constant", "files": model_files, "signature": SIGNATURE},
            ),
            ("serving.report_failure", {"gateway": "g", "deployment": "late", "number": 1, "why": "it cannot"}),
            ("serving.release", {"deployment": "free", "champion": 2, "reason": "by hand"}),
            ("serving.refresh", {"deployment": "late", "reason": "followers moved"}),
            ("serving.judge_step", {"rollout_id": ids["rollout"], "step": 0}),
            ("serving.finish_step", {**look, "verdicts": [{"step": 0, **judged, **measured}]}),
            ("serving.on_approved", {"rollout_id": ids["waiting"]}),
            ("serving.on_rejected", {"rollout_id": ids["waiting"], "reason": "no"}),
            ("serving.rollback", {"deployment": "late", "reason": "it is worse"}),
            ("monitoring.open_windows", {"deployment": "late", "start_at": day}),
            ("monitoring.set_reference", {"deployment": "late", "profile_digest": ids["profile"], "model_version": 2}),
            ("monitoring.raise_alert", {**alert, "subject": "flights/deployment:new"}),
            ("monitoring.raise_alert", alert),
            ("monitoring.close_window", {"deployment": "late", "start_at": day, "end_at": day + DAY_US}),
            ("monitoring.settle_window", {"deployment": "late", "start_at": day, "end_at": day + DAY_US}),
            ("monitoring.finish_window", {"window": window}),
            ("monitoring.finish_window", {"window": msgspec.structs.replace(window, state="settled", predictions=11)}),
            ("loop.finish_training", {"execution_id": "exe_a", "model": "late", "version": 3, **_passed()}),
            ("loop.finish_training", {"execution_id": "exe_b", "model": "late", "version": 4, **_passed()}),
            ("blobs.keep", {"blobs": [stored]}),
            ("registry.record_gates", {"model": "late", "version": 3, "results": [], "evidence": _evidence(3)}),
            ("pipelines.finish_execution", {"execution_id": ids["execution"], "error": {"message": "no"}}),
            ("pipelines.start_scheduled", {"pipeline": "nightly", "due_at": day}),
            ("pipelines.take", {"claim": Claim(ids["execution"], 1, 1)}),
            ("chunks.register", {"chunks": [_chunk(self.loop)]}),
            ("chunks.merge", {"merged": _chunk(self.loop, 6, 12, 30), "level": 1, "chunk_ids": ids["small"].split()}),
            ("data.finish_import", {"job_id": ids["import"], "imported": _imported(self.loop, passed=True)}),
            ("loop.finish_label_feed", {"deployment": "late", "since": at, "looked_at": at, **_fed(self.loop)}),
            ("data.fail_import", {"job_id": ids["import"], "dataset": "flights", "error": {"message": "no"}}),
            ("deletion.forget_rows", {}),
            ("access.note_refused", {"calls": [RefusedCall("predict", "flights", "10.0.0.1", at)]}),
            ("loop.let_views_go", {"view_keys": ["recent", "gone"]}),
            ("loop.finish_tidying", {"views": ["recent"], "entities": 3, "size_bytes": 900}),
        ]
        system = {"gateway": "g", "address": "http://g:1", "position": 1}
        above = [VerbCall("serving.acknowledge", system, SERVICE_ACTOR, SYSTEM)]
        return [*(VerbCall(verb, plain(args), SERVICE_ACTOR) for verb, args in asked), *above]

    def _of_workers(self) -> list[VerbCall]:
        ids = self.ids
        held = {"job_id": ids["running"], "worker": "w"}
        error = {"code": "internal", "message": "it broke"}
        claim = {"kinds": sorted(JOBS), "slots": dict.fromkeys(LANES, 1)}
        inside = [
            ("jobs.finish", {**held, "result": {"rows": 3}}),
            ("jobs.fail", {**held, "error": error, "may_retry": True}),
            ("jobs.fail", {**held, "error": error}),
            ("jobs.hand_back", held),
        ]
        above = [
            ("jobs.claim", {"worker": "a", **claim}),
            ("jobs.claim", {"worker": "b", **claim}),
            ("jobs.let_go", {"worker": "w"}),
            ("jobs.renew", {"worker": "w", "held": [{"project": "flights", "job_id": ids["running"]}]}),
        ]
        return [
            *(VerbCall(verb, args, SERVICE_ACTOR) for verb, args in inside),
            *(VerbCall(verb, args, SERVICE_ACTOR, SYSTEM) for verb, args in above),
        ]


def prepare(loop: Loop, importer: Importer) -> Prepared:
    """Make the state: two versions, one serving and one in shadow, and something open of each kind."""
    everyone = msgspec.structs.replace(LATE, name="free")
    retrains = [*PROJECT.retrains, msgspec.structs.replace(PROJECT.retrains[0], deployment="free")]
    monitors = {**PROJECT.monitors, "free": PROJECT.monitors["late"]}
    held = msgspec.structs.replace(LATE, name="held")
    taking = [msgspec.structs.replace(PROJECT.datasets[0], takes_labels=True)]
    parts = {"retrains": retrains, "monitors": monitors, "datasets": taking}
    loop.apply(deployments=[LATE, ASKED, everyone, held], **parts)
    for _ in range(2):
        importer.load()
    loop.train("exe_1")
    loop.train("exe_2")
    ids = {"plan": loop("features.freeze_plan", service="late")}
    ids["rollout"] = next(
        one.rollout_id for one in loop("serving.rollouts", deployment="late") if one.state == "running"
    )
    for live in loop("serving.rollouts", deployment="free"):
        if live.state == "running":
            loop("serving.abort", rollout_id=live.rollout_id, reason="to have it free")
    ids["paused"] = next(one.rollout_id for one in loop("serving.rollouts", deployment="held"))
    loop("serving.pause", rollout_id=ids["paused"], reason="to look")
    loop.register()
    loop.register()
    ids["waiting"] = next(one.rollout_id for one in loop("serving.rollouts", deployment="asked"))
    ids["approval"] = loop("approvals.list", state="waiting")[0].approval_id
    ids["profile"] = loop.blobs.put(b"profile of a pair").digest
    old = loop("tracking.start_run", experiment="old", params={"depth": 3}).run_id
    loop("tracking.finish_run", run_id=old)
    ids["run"] = loop("tracking.start_run", experiment="by-hand").run_id
    ids["token"] = loop("tokens.create", actor="person:bo", role="viewer").token.token_id
    alert = {"subject": "flights/deployment:late", "kind": "drift", "message": "2 features drift"}
    ids["incident"] = loop.service("monitoring.raise_alert", **alert, at=loop.wall.at_us).incident_id
    loop("registry.set_alias", model="late", alias="favourite", version=2)
    loop("data.tag", dataset="flights", version=1, tag="gold")
    failed = loop("loop.start_export", deployment="late", start_at=0, end_at=1)
    end_job(loop, failed, "jobs.fail", error={"code": "internal", "message": "no"})
    ids["failed"] = failed.job_id
    ids["running"] = loop("loop.start_export", deployment="late", start_at=0, end_at=2).job_id
    claim = {"worker": "w", "kinds": ["loop.export"], "slots": dict.fromkeys(LANES, 9)}
    loop.dispatcher.call("jobs.claim", claim, actor=SERVICE_ACTOR, project=SYSTEM)
    loop("loop.start_export", deployment="late", start_at=0, end_at=3)
    ids["failed_execution"] = loop("pipelines.start", pipeline="fit", params={}, reason="to fail").execution_id
    loop.service("pipelines.finish_execution", execution_id=ids["failed_execution"], error={"message": "it broke"})
    loop("pipelines.declare", spec=NIGHTLY)
    ids["import"] = loop("data.start_import", dataset="flights", blobs=[loop.blobs.put(b"no rows")]).job_id
    ids["execution"] = loop("pipelines.start", pipeline="fit", params={}, reason="to have one").execution_id
    doubtful = loop("data.start_import", dataset="flights", blobs=[loop.blobs.put(b"rows in doubt")]).job_id
    loop.service("data.finish_import", job_id=doubtful, imported=_imported(loop, passed=False))
    small = loop.service("chunks.register", chunks=[_chunk(loop, 3, seq, 3 * seq) for seq in (10, 11)])
    ids["small"] = " ".join(chunk.chunk_id for chunk in small)
    return Prepared(ids, loop)


def plain(args: dict[str, Any]) -> dict[str, Any]:
    """Return arguments as they come over the wire."""
    return {name: to_builtins(value) for name, value in args.items()}


def _named(stored: Any) -> dict[str, Any]:
    return {"digest": stored.digest, "size_bytes": stored.size_bytes}


def _signed() -> dict[str, Any]:
    return {"signature": SIGNATURE, "reason": "made elsewhere"}


def _passed() -> dict[str, Any]:
    return {"passed": True, "reason": "it ran"}


def _evidence(version: int) -> dict[str, Any]:
    counted = {"rows": 900, "metrics": {"roc_auc": 0.7}, "intervals": {}, "quarantined": []}
    unknown = ("champion", "champion_metrics", "overlap_rows", "champion_overlap_rows", "latency_p99_ms")
    return {"model": "late", "version": version, **counted, **dict.fromkeys(unknown)}


def _chunk(loop: Loop, rows: int = 3, seq: int = 1, first: int = 0) -> StoredChunk:
    """Return stored predictions, as a gateway registers them."""
    ids = [f"pred_{first + number:03}" for number in range(rows)]
    at = pl.lit(loop.wall.at_us)
    frame = pl.DataFrame({"prediction_id": ids}).with_columns(event_at=at, recorded_at=at)
    blob = loop.blobs.put(pack_rows(frame))
    return describe_chunk(frame, blob, kind="predictions", stream="late", writer="w", seq=seq)


def _imported(loop: Loop, *, passed: bool) -> ImportedRows:
    """Return what an import job made: one more row, with a check that it passed or did not."""
    newest = loop("data.get_version", dataset="flights", version=2)
    rows, name = loop.blobs.put(f"a row that passed: {passed}".encode()), "passed" if passed else "failed"
    return ImportedRows(
        dataset="flights",
        operation="append",
        parent=2,
        spec=newest.spec,
        schema=newest.schema,
        fragments=[Fragment(rows.digest, rows.size_bytes, 1, loop.wall.at_us, loop.wall.at_us)],
        rows=1,
        row_sum=sum_rows(row_hashes(pl.DataFrame({"id": [name]}))),
        profile=loop.blobs.put(f"profile of what {name}".encode()),
        checks=[CheckResult(CheckSpec("not_null", "id"), passed, 1, int(not passed))],
        reason=name,
    )


def _fed(loop: Loop) -> dict[str, Any]:
    """Return what a feed of labels found."""
    waiting, rows = loop.blobs.put(b"labels that wait"), loop.blobs.put(b"rows with labels")
    return {"replacements": 0, "waiting": waiting, "rows": rows, "has_more": False, "reason": "1 label of late"}
