"""What gates look at: a version and the champion measured on the same held-out rows, and the data behind them."""

from collections.abc import Iterable
from typing import Any, Protocol

from loopwright.data import Dataset, DatasetVersion
from loopwright.features import TrainingSetVersion
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.registry import Evidence, GateReport, GateSpec, ModelVersion, SavedModel, run_gates
from loopwright.tracking import Run

Document = dict[str, Any]


class Caller(Protocol):
    """What gathering needs of a step or a job: verbs, and functions of the platform in a child process."""

    @property
    def project(self) -> str:
        """The project."""
        ...

    def call(self, verb: str, args: dict[str, Any]) -> Any:
        """Call a verb or query in the project."""
        ...

    def child(self, target: str, inputs: dict[str, Any]) -> Any:
        """Call a function in a child process."""
        ...


def gather(caller: Caller, version: ModelVersion, rows: Document) -> Evidence:
    """Return the evidence on a version.

    Args:
        caller: The step or job that asks.
        version: Which.
        rows: Document of the training set it is measured on.
    """
    asked = {"model": model_document(version), "rows": rows}
    if version.training_set:
        asked["trained_on"] = frozen_document(caller, version.training_set)
    champion = champion_of(caller, version.model)
    if champion is not None:
        asked["champion"] = model_document(champion)
        if champion.training_set:
            asked["champion_trained_on"] = frozen_document(caller, champion.training_set)
    facts: Document = caller.child("loopwright.loop.scoring:judge", asked)
    measured_on = training_set_of(caller, rows["ref"])
    facts["overlap_rows"] = _overlap(facts["overlap_rows"], version, measured_on)
    if champion is not None:
        facts["champion_overlap_rows"] = _overlap(facts["champion_overlap_rows"], champion, measured_on)
    trained_on = _datasets(caller, version)
    datasets = {**trained_on, **measured_on.spec.dataset_versions}
    return Evidence(
        model=version.model,
        version=version.version,
        champion=None if champion is None else champion.version,
        quarantined=_quarantined(caller, datasets),
        released=_released(caller, {*trained_on.items(), *measured_on.spec.dataset_versions.items()}),
        is_data_known=bool(trained_on),
        evaluation=rows["ref"],
        **facts,
    )


def run_and_record(
    caller: Caller, version: ModelVersion, rows: Document, gates: list[GateSpec], reason: str = ""
) -> GateReport:
    """Run gates over the evidence on a version and store what they said."""
    found = gather(caller, version, rows)
    place = {"model": version.model, "version": version.version, "reason": reason}
    results = to_builtins(run_gates(gates, found))
    report: GateReport = caller.call(
        "registry.record_gates", {**place, "results": results, "evidence": to_builtins(found)}
    )
    return report


def champion_of(caller: Caller, model: str) -> ModelVersion | None:
    """Return the version that serves; None before the first."""
    try:
        found: ModelVersion = caller.call("registry.get_version", {"model": model, "alias": "champion"})
    except NotFound:
        return None
    return found


def model_document(version: ModelVersion) -> Document:
    """Return the document by which a child process gets a version, loaded."""
    saved = SavedModel(version.flavour, version.files, version.signature, version.digest)
    digests = {file.path: file.digest for file in version.files}
    return {"codec": "model", "blobs": digests, "saved": to_builtins(saved)}


def rows_document(caller: Caller, frozen: TrainingSetVersion) -> Document:
    """Return the document by which a child process gets the rows of a training set."""
    plan = caller.call("features.plan", {"digest": frozen.plan_digest})
    return {
        "codec": "training_set",
        "blob": frozen.digest,
        "ref": f"{caller.project}/training_set:{frozen.service}/{frozen.version}",
        "label": frozen.label,
        "task": plan.task,
        "rows": frozen.rows,
        "plan_digest": frozen.plan_digest,
    }


def frozen_document(caller: Caller, ref: str) -> Document:
    """Return the document of a training set by its ref."""
    return rows_document(caller, training_set_of(caller, ref))


def training_set_of(caller: Caller, ref: str) -> TrainingSetVersion:
    """Return a training set by its ref."""
    parsed = parse_ref(ref)
    found: TrainingSetVersion = caller.call(
        "features.training_set", {"service": parsed.name, "version": parsed.version}
    )
    return found


def _overlap(counted: int | None, version: ModelVersion, measured_on: TrainingSetVersion) -> int | None:
    """Return how many rows a version was trained on: what was not counted is none if it is older than all of them."""
    return 0 if counted is None and version.event_at <= measured_on.event_at_min else counted


def _datasets(caller: Caller, version: ModelVersion) -> dict[str, int]:
    """Return the dataset versions a version was trained on; empty if that is not on record."""
    if version.training_set:
        return training_set_of(caller, version.training_set).spec.dataset_versions
    if not version.run:
        return {}
    run: Run = caller.call("tracking.get_run", {"run_id": parse_ref(version.run).name})
    refs = [parse_ref(ref) for ref in run.inputs]
    return {ref.name: ref.version for ref in refs if ref.kind == "dataset" and ref.version is not None}


def _quarantined(caller: Caller, names: Iterable[str]) -> list[str]:
    """Return the newest versions that are quarantined: what was read in their place is older than it should be."""
    found: list[Dataset] = [caller.call("data.get", {"dataset": name}) for name in names]
    return [f"{one.spec.name}/{one.latest}" for one in found if one.latest_state == "quarantined"]


def _released(caller: Caller, read: Iterable[tuple[str, int]]) -> list[str]:
    """Return the versions with rows in what was read that failed their checks and were released by a person."""
    found: dict[str, None] = {}
    for name, number in sorted(read):
        released: list[DatasetVersion] = caller.call("data.released_versions", {"dataset": name, "version": number})
        for one in released:
            failed = "; ".join(result.message for result in one.checks if not result.passed)
            found[f"{name}/{one.version} ({failed})"] = None
    return list(found)
