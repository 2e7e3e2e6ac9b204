"""What speaks against taking a report at its word: it was measured on rows that whoever made the version chose.

Whoever chooses the labels chooses the verdict. So a report lets a version through by itself only where its labels are
those that the model's champion was judged on, or, before there is one, those of a training of the model.
"""

from loopwright import features, pipelines, registry
from loopwright.features import LabelSpec
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.registry import AliasSet, GateReport, ModelVersion
from loopwright.serving.rollouts.bonds import judged_by, reports_of
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx


def doubts_about(tx: Tx, candidate: ModelVersion) -> list[str]:
    """Return in sentences why somebody should look at the rows that a version was measured on; of most there is none.

    Reports that name no rows are those of before there were evaluations; one that is forced is an approver's already.
    """
    report = judged_by(tx, candidate)
    if report is None or report.forced_by or not report.evidence.evaluation:
        return []
    found = []
    if report.evidence.is_stretch_chosen:
        found.append("The stretch of rows that it was measured on was chosen by whoever started that.")
    label = _label_of_rows(tx, report.evidence.evaluation)
    usual, whose = _usual(tx, candidate)
    if label is None or label not in usual:
        by = "labels that are not on record any more" if label is None else _tell(label)
        found.append(f"It was measured on {by}; {whose}.")
    return found


def _usual(tx: Tx, candidate: ModelVersion) -> tuple[list[LabelSpec], str]:
    """Return the labels by which a version is to be judged, and whose they are in words."""
    try:
        champion = registry.get_version(tx, model=candidate.model, alias=registry.CHAMPION)
    except NotFound:
        labels = [*_trained_on(tx, candidate), *_declared(tx, candidate.model)]
        told = ", ".join(dict.fromkeys(map(_tell, labels)))
        return labels, f"trainings of {candidate.model} learn from {told}" if told else (
            f"no training of {candidate.model} says which labels count, and it has no champion yet"
        )
    labels = _judged_on(tx, champion)
    told = _tell(labels[0]) if labels else "labels that are not on record"
    return labels, f"the champion, version {champion.version}, was judged on {told}"


def _judged_on(tx: Tx, champion: ModelVersion) -> list[LabelSpec]:
    """Return the labels by which a version became champion; a report that came after that says nothing of them."""
    moved = store_sql.events_of(tx, AliasSet, tx.ref("model", champion.model, champion.version))
    since = max((one.recorded_at for one in moved if one.payload.get("alias") == registry.CHAMPION), default=0)
    before = [report for report in reports_of(tx, champion) if report.recorded_at <= since and _rows_of(report)]
    label = _label_of_rows(tx, _rows_of(before[0])) if before else None
    return [label] if label is not None else _trained_on(tx, champion)


def _rows_of(report: GateReport) -> str:
    return report.evidence.evaluation


def _trained_on(tx: Tx, version: ModelVersion) -> list[LabelSpec]:
    """Return the labels that the platform trained a version on; what an import says of itself does not count."""
    label = _label_of_rows(tx, version.training_set) if version.training_set else None
    return [] if label is None else [label]


def _declared(tx: Tx, model: str) -> list[LabelSpec]:
    """Return the labels of the trainings that are declared for a model."""
    trains = [
        step.inputs["train"]["value"]
        for pipeline in pipelines.list_pipelines(tx)
        for step in pipeline.spec.steps
        if step.kind == "loop.finish_training"
    ]
    services = {train["service"] for train in trains if train["model"] == model}
    declared = features.list_definitions(tx, kind="service")
    return [convert(one.spec["label"], LabelSpec, "label") for one in declared if one.name in services]


def _label_of_rows(tx: Tx, training_set: str) -> LabelSpec | None:
    """Return the label of a training set by its ref; None where it is gone."""
    ref = parse_ref(training_set, tx.project, "training_set")
    try:
        frozen = features.training_set(tx, service=ref.name, version=ref.version)
        return features.plan(tx, digest=frozen.plan_digest).label
    except NotFound:
        return None


def _tell(label: LabelSpec) -> str:
    return f"{label.column} of {label.dataset}"
