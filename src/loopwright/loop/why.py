"""Why: everything behind one served prediction, in plain sentences and as a graph."""

from typing import Any

from loopwright import data, features, registry, serving, tracking
from loopwright.governance import Approval, approvals
from loopwright.kernel.clock import format_moment
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.kernel.verbs import Role, operation
from loopwright.loop.engine.operations import OperationContext
from loopwright.loop.types import Provenance, ProvenanceNode
from loopwright.registry import GateReport, ModelVersion
from loopwright.serving import Release, Rollout, ScoreSpec, Variant
from loopwright.store import jobs
from loopwright.store import sql as store_sql
from loopwright.store.retention import KEPT_HINT, tell_removal
from loopwright.store.tombstones import tell_tombstone
from loopwright.store.tx import Tx
from loopwright.store.types import Streams, Tombstone

Rows = list[dict[str, Any]]


@operation("loop.why", role=Role.VIEWER)
def why(context: OperationContext, *, prediction_id: str) -> Provenance:
    """Return what one prediction came from: release, traffic decision, version, gates, approvals, run, rows, code.

    Args:
        context: Reads and seals.
        prediction_id: The id, or its ref, as ``flights/prediction:pred_…``.

    Raises:
        NotFound: No deployment of this project answered under this id.
    """
    ref = parse_ref(prediction_id, context.project, "prediction_id") if ":" in prediction_id else None
    if ref is not None and ref.kind == "prediction":
        prediction_id = ref.name
    rows = _find_rows(context, prediction_id)
    if not rows:
        context.seal(Streams(context.project, ("predictions",)))
        rows = _find_rows(context, prediction_id)
    if not rows:
        removal = context.read(lambda tx: store_sql.find_removal(tx, "predictions", prediction_id))
        if removal is not None:
            raise NotFound(tell_removal(removal), field="prediction_id", value=prediction_id, next_step=KEPT_HINT)
        raise NotFound(
            "no prediction of this project has this id",
            field="prediction_id",
            value=prediction_id,
            next_step="it stands in every answer of /predict",
        )
    return context.read(lambda tx: _Chain(tx, rows).provenance())


def _find_rows(context: OperationContext, prediction_id: str) -> Rows:
    """Return the served row and its shadows, each with its ``deployment`` and the ``writer`` of its chunk."""
    chunks = context.read(
        lambda tx: store_sql.find_chunks(tx.connection, tx.project, "predictions", item_id=prediction_id)
    )
    rows: Rows = []
    for chunk in chunks:
        found = serving.predictions.find_prediction([chunk], context.blobs, prediction_id)
        rows += [{**row, "deployment": chunk.stream, "writer": chunk.writer} for row in found]
    return rows


class _Chain:
    """Collects nodes and edges, walking from the prediction to the bytes it rests on."""

    def __init__(self, tx: Tx, rows: Rows) -> None:
        self._tx = tx
        self._row = next((row for row in rows if not row["is_shadow"]), rows[0])
        self._shadows = [row for row in rows if row["is_shadow"]]
        self._as_of = int(self._row["recorded_at"])
        self._nodes: dict[str, ProvenanceNode] = {}
        self._edges: list[list[str]] = []

    def provenance(self) -> Provenance:
        """Return the whole chain, nearest first."""
        row = self._row
        name = str(row["prediction_id"])
        ref = self._tx.ref("prediction", name)
        values = {key.removeprefix("f."): value for key, value in row.items() if key.startswith("f.")}
        at = format_moment(int(row["event_at"]))
        answer = row["score"] if row["score"] is not None else row["answer"]
        details = {
            "deployment": row["deployment"],
            "score": row["score"],
            "answer": row["answer"],
            "error": row["error"],
            "missing": row["missing"],
            "latency_us": row["latency_us"],
            "row_key": row["row_key"],
            "event_at": row["event_at"],
            "features": values,
            "shadows": [
                {"variant": one["variant"], "version": one["model_version"], "score": one["score"]}
                for one in self._shadows
            ],
        }
        self._add(ref, "prediction", f"{row['deployment']} answered {answer} for {at}.", details)
        if row["variant"] == serving.predictions.SCORED:
            self._score(ref)
        elif int(row["release"]) > 0:
            self._release(ref)
        return Provenance(name, list(self._nodes.values()), self._edges)

    def _add(self, ref: str, kind: str, sentence: str, details: dict[str, Any], child: str = "") -> str:
        self._nodes.setdefault(ref, ProvenanceNode(ref, kind, sentence, details))
        if child and [child, ref] not in self._edges:
            self._edges.append([child, ref])
        return ref

    def _score(self, child: str) -> None:
        """Add the batch that scored the row: a version was named to it, no release's traffic rule chose one."""
        job = jobs.get(self._tx, job_id=str(self._row["writer"]).removeprefix("score:"))
        spec = convert(job.args, ScoreSpec, "args")
        ref = self._tx.ref("score", job.job_id)
        sentence = f"Scored in a batch by version {spec.version} of {spec.model}, outside the traffic of any release."
        self._add(ref, "score", sentence, {"rows": spec.input.digest, "release": spec.release}, child)
        self._version(spec.model, spec.version, ref)

    def _release(self, child: str) -> None:
        deployment, number = str(self._row["deployment"]), int(self._row["release"])
        release = serving.get_release(self._tx, deployment=deployment, number=number)
        self._as_of = release.recorded_at
        ref = self._tx.ref("release", deployment, number)
        served = next(variant for variant in release.variants if variant.name == self._row["variant"])
        sentence = f"Release {number} of {deployment}: {_traffic(release, served, self._row['bucket'])}"
        self._add(ref, "release", sentence, {"reason": release.reason, "bucket": self._row["bucket"]}, child)
        self._rollout(deployment, served.version, ref)
        self._version(served.model, served.version, ref)

    def _rollout(self, deployment: str, version: int, child: str) -> None:
        """Add the rollout that had brought the version into traffic, and who let it."""
        rollouts = serving.list_rollouts(self._tx, deployment=deployment, limit=1000)
        rollout = next(
            (rollout for rollout in rollouts if rollout.version == version and self._was_known(rollout)), None
        )
        if rollout is None:
            return
        ref = self._tx.ref("rollout", rollout.rollout_id)
        found = approvals.list_approvals(self._tx, subject=ref)
        sentence = (
            f"Version {version} came by a rollout that is {rollout.state}: {rollout.reason or 'no reason given'}."
        )
        details = {
            "verdicts": [verdict.message for verdict in rollout.verdicts],
            "forced": rollout.forced_reason,
            "started_by": rollout.started_by,
        }
        self._add(ref, "rollout", f"{sentence} Approved by {_who(found, rollout.started_by)}.", details, child)

    def _is_gone(self, ref: str, kind: str, child: str) -> Tombstone | None:
        """Return what is left of a thing that was deleted, and add it; numbers and ids are never given again."""
        left = store_sql.find_tombstone(self._tx, ref)
        if left is not None:
            details = {**left.facts, "deleted_at": left.deleted_at, "deleted_by": left.deleted_by}
            self._add(ref, kind, f"{_capital(tell_tombstone(left))}.", details, child)
        return left

    def _version(self, model: str, number: int, child: str) -> None:
        ref = self._tx.ref("model", model, number)
        left = self._is_gone(ref, "model", child)
        if left is not None:
            self._run(str(left.facts["run"]), str(left.facts["code_digest"]), ref)
            self._training_set(str(left.facts["training_set"]), ref)
            return
        version = registry.get_version(self._tx, model=model, version=number)
        how = f", the recipe of version {version.refit_of} fitted on all rows" if version.refit_of else ""
        details = {"digest": version.digest, "flavour": version.flavour, "metrics": version.metrics}
        self._add(ref, "model", f"Version {number} of {model} ({version.flavour}{how}).", details, child)
        self._gates(version, ref)
        self._run(version.run, version.code_digest, ref)
        self._training_set(version.training_set, ref)
        if version.refit_of and self._tx.ref("model", model, version.refit_of) not in self._nodes:
            self._version(model, version.refit_of, ref)

    def _gates(self, version: ModelVersion, child: str) -> None:
        reports = registry.gate_reports(self._tx, model=version.model, version=version.version)
        report = next(filter(self._was_known, reports), None)
        if report is None:
            return
        results = [f"{one.gate.kind}: {one.verdict}, {one.message}" for one in report.results]
        passed = sum(one.verdict == "passed" for one in report.results)
        forced = f", forced by {report.forced_by}: {report.forced_reason}" if report.forced_by else ""
        sentence = f"{passed} of {len(results)} gates passed on {report.evidence.rows} held-out rows{forced}."
        self._add(self._tx.ref("gates", report.report_id), "gates", sentence, {"results": results}, child)

    def _was_known(self, record: Rollout | GateReport) -> bool:
        """Say whether a record stood already when the release was made, or the batch started."""
        return record.recorded_at <= self._as_of

    def _run(self, ref: str, code_digest: str, child: str) -> None:
        if not ref or self._is_gone(ref, "run", child):
            return
        run = tracking.get_run(self._tx, run_id=parse_ref(ref).name)
        source, environment = run.source, run.environment
        commit = (source.commit[:12] or "no commit") if source else "no commit"
        dirty = " with uncommitted changes" if source and source.is_dirty else ""
        params = ", ".join(f"{name}={value}" for name, value in sorted(run.params.items()))
        python = environment.python if environment else "unknown"
        details = {
            "params": run.params,
            "commit": source.commit if source else "",
            "patch_digest": source.patch_digest if source else "",
            "environment_digest": environment.digest if environment else "",
            "code_digest": code_digest,
        }
        sentence = f"Trained with {params or 'no parameters'} at {commit}{dirty}, Python {python}."
        self._add(ref, "run", sentence, details, child)

    def _training_set(self, ref: str, child: str) -> None:
        if not ref:
            return
        named = parse_ref(ref)
        if left := self._is_gone(ref, "training_set", child):
            self._plan(str(left.facts["plan_digest"]), ref)
            self._datasets(left.facts["spec"]["dataset_versions"], ref)
            return
        version = features.training_set(self._tx, service=named.name, version=named.version or 0)
        span = f"{format_moment(version.event_at_min)} to {format_moment(version.event_at_max)}"
        sentence = f"{version.rows} rows of {version.service} from {span}, joined as they were known then."
        details = {"digest": version.digest, "columns": version.columns, "plan_digest": version.plan_digest}
        self._add(ref, "training_set", sentence, details, child)
        self._plan(version.plan_digest, ref)
        self._datasets(version.spec.dataset_versions, ref)

    def _datasets(self, versions: dict[str, int], child: str) -> None:
        for name, number in versions.items():
            ref = self._tx.ref("dataset", name, number)
            if self._is_gone(ref, "dataset", child):
                continue
            version, digests = data.get_head(self._tx, dataset=name, version=number)
            files = f"{len(digests)} fragment{'' if len(digests) == 1 else 's'}"
            sentence = (
                f"Dataset {name} version {number}: {version.rows} rows in {files}, together {version.digest[:12]}."
            )
            self._add(ref, "dataset", sentence, {"digest": version.digest, "fragments": digests}, child)

    def _plan(self, digest: str, child: str) -> None:
        plan = features.plan(self._tx, digest=digest)
        code = {request.name: request.function.function_digest for request in plan.requests}
        names = ", ".join([*code, *(view.name for view in plan.views)])
        details = {"code_digest": plan.code_digest, "functions": code, "columns": plan.columns}
        ref = self._tx.ref("feature_plan", digest[:12])
        self._add(ref, "features", f"Features by {names}; the same code serves and trains.", details, child)


def _traffic(release: Release, served: Variant, bucket: float | None) -> str:
    if served.is_shadow:
        return f"{served.name} ran unseen beside the answer."
    shares = [variant for variant in release.variants if not variant.is_shadow]
    if len(shares) == 1:
        return f"all traffic goes to {served.name}."
    place = "" if bucket is None else f", this caller's bucket is {bucket:.3f}"
    return f"{served.name} has {served.weight:.0%} of traffic{place}."


def _who(found: list[Approval], started_by: str) -> str:
    decided = [approval for approval in found if approval.state == "approved"]
    return f"{decided[0].decided_by}" if decided else f"policy ({started_by})"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
