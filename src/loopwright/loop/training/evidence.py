"""What gates look at: a version and the champion measured on the same held-out rows, and the data behind them."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from loopwright import data, features, registry, tracking
from loopwright.features import TrainingSetVersion
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.loop import audits
from loopwright.registry import Evidence, GateReport, GateSpec, ModelVersion, SavedModel, run_gates
from loopwright.store.work import ProjectCaller

Document = dict[str, Any]


Child = Callable[[str, Document], Any]
"""Calls a function of the platform in a child process, by ``module:qualname``, with documents by parameter."""


def gather(context: ProjectCaller, child: Child, version: ModelVersion, rows: Document) -> Evidence:
    """Return the evidence on a version.

    Args:
        context: The step or job that asks.
        child: Runs what measures models beside them.
        version: Which.
        rows: Document of the training set it is measured on.
    """
    asked = {"model": model_document(version), "rows": rows}
    if version.training_set:
        asked["trained_on"] = frozen_document(context, version.training_set)
    champion = champion_of(context, version.model)
    if champion is not None:
        asked["champion"] = model_document(champion)
        if champion.training_set:
            asked["champion_trained_on"] = frozen_document(context, champion.training_set)
    facts: Document = child("loopwright.loop.training.scoring:judge", asked)
    measured_on = training_set_of(context, rows["ref"])
    facts["overlap_rows"] = _overlap(facts["overlap_rows"], version, measured_on)
    if champion is not None:
        facts["champion_overlap_rows"] = _overlap(facts["champion_overlap_rows"], champion, measured_on)
    trained_on = _datasets(context, version)
    datasets = {**trained_on, **measured_on.spec.dataset_versions}
    skews = context.call(audits.find_skews, model=version.model)
    return Evidence(
        model=version.model,
        version=version.version,
        champion=None if champion is None else champion.version,
        quarantined=_quarantined(context, datasets),
        released=_released(context, {*trained_on.items(), *measured_on.spec.dataset_versions.items()}),
        is_data_known=bool(trained_on),
        skews=skews.found,
        is_audited=skews.is_audited,
        unaudited=skews.unaudited,
        evaluation=rows["ref"],
        **facts,
    )


def run_and_record(
    context: ProjectCaller,
    child: Child,
    version: ModelVersion,
    rows: Document,
    gates: list[GateSpec],
    reason: str = "",
    *,
    is_stretch_chosen: bool = False,
) -> GateReport:
    """Run gates over the evidence on a version and store what they said."""
    evidence = msgspec.structs.replace(gather(context, child, version, rows), is_stretch_chosen=is_stretch_chosen)
    return context.call(
        registry.record_gates,
        model=version.model,
        version=version.version,
        results=run_gates(gates, evidence),
        evidence=evidence,
        reason=reason,
    )


def champion_of(context: ProjectCaller, model: str) -> ModelVersion | None:
    """Return the version that serves; None before the first."""
    try:
        return context.call(registry.get_version, model=model, alias=registry.CHAMPION)
    except NotFound:
        return None


def model_document(version: ModelVersion) -> Document:
    """Return the document by which a child process gets a version, loaded."""
    saved = SavedModel(version.flavour, version.files, version.signature, version.digest)
    digests = {file.path: file.digest for file in version.files}
    return {"codec": "model", "blobs": digests, "saved": to_builtins(saved)}


def rows_document(context: ProjectCaller, frozen: TrainingSetVersion) -> Document:
    """Return the document by which a child process gets the rows of a training set."""
    plan = context.call(features.plan, digest=frozen.plan_digest)
    return {
        "codec": "training_set",
        "blob": frozen.digest,
        "ref": f"{context.project}/training_set:{frozen.service}/{frozen.version}",
        "label": frozen.label,
        "task": plan.task,
        "rows": frozen.rows,
        "plan_digest": frozen.plan_digest,
    }


def frozen_document(context: ProjectCaller, ref: str) -> Document:
    """Return the document of a training set by its ref."""
    return rows_document(context, training_set_of(context, ref))


def training_set_of(context: ProjectCaller, ref: str) -> TrainingSetVersion:
    """Return a training set by its ref."""
    parsed = parse_ref(ref)
    return context.call(features.training_set, service=parsed.name, version=parsed.version)


def _overlap(counted: int | None, version: ModelVersion, measured_on: TrainingSetVersion) -> int | None:
    """Return how many rows a version was trained on: what was not counted is none if it is older than all of them."""
    return 0 if counted is None and version.event_at <= measured_on.event_at_min else counted


def _datasets(context: ProjectCaller, version: ModelVersion) -> dict[str, int]:
    """Return the dataset versions a version was trained on; empty if that is not on record."""
    if version.training_set:
        return training_set_of(context, version.training_set).spec.dataset_versions
    if not version.run:
        return {}
    run = context.call(tracking.get_run, run_id=parse_ref(version.run).name)
    refs = [parse_ref(ref) for ref in run.inputs]
    return {ref.name: ref.version for ref in refs if ref.kind == "dataset" and ref.version is not None}


def _quarantined(context: ProjectCaller, names: Iterable[str]) -> list[str]:
    """Return the newest imports that are quarantined: what was read in their place is older than it should be.

    To restore an older version over them says nothing of the rows that failed.
    """
    newest = [context.call(data.versions.last_imported, dataset=name) for name in names]
    return [f"{one.dataset}/{one.version}" for one in newest if one is not None and one.state == "quarantined"]


def _released(context: ProjectCaller, read: Iterable[tuple[str, int]]) -> list[str]:
    """Return the versions with rows in what was read that failed their checks and were released by a person."""
    named: dict[str, None] = {}
    for name, number in sorted(read):
        for version in context.call(data.versions.released_versions, dataset=name, version=number):
            failed = "; ".join(result.message for result in version.checks if not result.passed)
            named[f"{name}/{version.version} ({failed})"] = None
    return list(named)
