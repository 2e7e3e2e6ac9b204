"""Steps of the standard training pipeline, done by the worker: training set, evaluation, registration, gates, end."""

from typing import Any

import polars as pl

from loopwright import features, registry
from loopwright.data import profiles
from loopwright.features import TrainingSetVersion, cut_training_set, freeze_training_set
from loopwright.kernel.clock import DAY_US, format_duration, format_moment
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.storable import storable_text
from loopwright.loop.apply import current_spec
from loopwright.loop.jobs import ask_child
from loopwright.loop.training import evidence, pipeline, recording
from loopwright.loop.types import TrainSpec
from loopwright.monitoring import MonitorSpec, build_reference
from loopwright.pipelines import StepContext
from loopwright.registry import GateSpec, SavedModel
from loopwright.store.chunks import keep_blobs

Document = dict[str, Any]


def join(context: StepContext, inputs: Document) -> Document:
    """Freeze every row of the training's window, joined as known now."""
    train, at = convert(inputs["train"], TrainSpec), _now(context, inputs)
    if train.holdout_us:
        _prepare_judge(context, train.model)
    frozen = freeze_training_set(
        context.job,
        plan_digest=context.call(features.freeze_plan, service=train.service),
        start_at=None if train.window_us is None else at - train.window_us,
        end_at=at,
        known_by=at,
        embargo_us=train.embargo_us,
        mature=train.mature,
        run_requests=lambda request, rows: ask_child(context.job, request, rows),
        reason=f"all rows of {train.name}",
    )
    return evidence.rows_document(context, frozen)


def cut(context: StepContext, inputs: Document) -> Document:
    """Freeze one part of the training set: ``fit``, the rows before the holdout, or ``holdout``."""
    train = convert(inputs["train"], TrainSpec)
    whole = evidence.training_set_of(context, inputs["rows"]["ref"])
    holdout_at = whole.spec.end_at - (train.holdout_us or 0)
    spans = {"fit": (whole.spec.start_at, holdout_at), "holdout": (holdout_at, whole.spec.end_at)}
    start_at, end_at = spans[inputs["part"]]
    reason = f"{inputs['part']} rows of {train.name}"
    try:
        part = cut_training_set(context.job, whole, start_at=start_at, end_at=end_at, reason=reason)
    except InvalidInput as error:
        if error.field == "start_at":  # a user has no word for the part's time but the holdout
            raise _empty_part(train, whole, inputs["part"], holdout_at) from None
        raise
    return evidence.rows_document(context, part)


def _empty_part(train: TrainSpec, whole: TrainingSetVersion, part: str, holdout_at: int) -> InvalidInput:
    """Return the error for a holdout, or what is before it, in which no row has a label; says when rows have one."""
    first, last = (format_moment(moment) for moment in (whole.event_at_min, whole.event_at_max))
    time = f"since {format_moment(holdout_at)}" if part == "holdout" else f"before {format_moment(holdout_at)}"
    late_us = (whole.spec.end_at - whole.event_at_max - 1) // DAY_US * DAY_US
    is_late = part == "holdout" and late_us > 0
    older = f', or leave out what is younger: mature="{format_duration(train.embargo_us + late_us)}"' if is_late else ""
    return InvalidInput(
        f"no row has a label in this time, {time}: those with one are from {first} to {last}",
        field="holdout",
        value=format_duration(train.holdout_us or 0),
        rule="rows with a label in the holdout and before it",
        next_step=f"choose another holdout, or wait until more labels are known{older}",
    )


def _require_model(train: TrainSpec, document: Any) -> None:
    if not isinstance(document, dict) or "saved" not in document:
        name = train.function.qualname
        raise InvalidInput(
            f"{name} returned no model",
            field=f"{train.function.module}.{name}",
            value=repr(document)[:100],
            rule="a fitted model",
            next_step=f"return the model that {name} has fitted",
        )


def _now(context: StepContext, inputs: Document) -> int:
    return int(inputs["at"] or context.execution.event_at)


def _prepare_judge(context: StepContext, model: str) -> None:
    """Have the child that will evaluate and judge import its libraries while the rows are joined and fitted."""
    champion = evidence.champion_of(context, model)
    asked = {} if champion is None else {"champion": evidence.model_document(champion)}
    context.job.children.prepare("loopwright.loop.training.scoring:get_ready", asked)


def profile(context: StepContext, inputs: Document) -> Document:
    """Profile the training rows as monitoring will compare windows with them."""
    train, rows = convert(inputs["train"], TrainSpec), inputs["rows"]
    spec = context.call(current_spec)
    served = [
        deployment_spec.name
        for deployment_spec in spec.deployments
        if deployment_spec.model == train.model and deployment_spec.name in spec.monitors
    ]
    monitor = spec.monitors[served[0]] if served else MonitorSpec(every_us=DAY_US)
    frame = pl.read_parquet(context.blobs.path(rows["blob"]))
    columns = [name for name in frame.columns if name not in ("row_id", "event_at", "label")]
    every_us, over_us = monitor.every_us, monitor.over_us
    built = build_reference(frame, columns, every_us=every_us, over_us=over_us, metric=monitor.drift)
    blob = context.blobs.put(profiles.to_bytes(built))
    context.call(keep_blobs, blobs=[blob])
    return {"digest": blob.digest}


def evaluate(context: StepContext, inputs: Document) -> Document:
    """Measure the fitted model on the held-out rows."""
    _require_model(convert(inputs["train"], TrainSpec), inputs["model"])
    found: Document = context.child(
        "loopwright.loop.training.scoring:evaluate", {"model": inputs["model"], "rows": inputs["rows"]}
    )
    return found


def register(context: StepContext, inputs: Document) -> Document:
    """Record the run and register the fitted model as the next version."""
    train = convert(inputs["train"], TrainSpec)
    _require_model(train, inputs["model"])
    saved = convert(inputs["model"]["saved"], SavedModel)
    rows: Document = inputs["rows"]
    metrics: dict[str, float] = (inputs["metrics"] or {}).get("metrics", {})
    refit_of = None if inputs["refit_of"] is None else int(inputs["refit_of"]["version"])
    run = recording.run_of(
        context,
        train.experiment or train.name,
        params={name: value for name, value in context.params.items() if name in train.params},
        tags={"function_digest": train.function.function_digest},
        inputs=[rows["ref"]],
        source=context.call(current_spec).source,
    )
    recording.finish(context, run, metrics)
    version = context.call(
        registry.register,
        model=train.model,
        flavour=saved.flavour,
        files=saved.files,
        signature=saved.signature,
        metrics={} if refit_of else {**metrics},
        service=train.service,
        plan_digest=rows["plan_digest"],
        run=f"{context.project}/run:{run.run_id}",
        training_set=rows["ref"],
        code_digest=train.function.digest,
        refit_of=refit_of,
        monitoring_profile=inputs["profile"]["digest"],
        idempotency=f"{context.execution.execution_id}/{context.step.name}",
    )
    return {"model": version.model, "version": version.version}


def gates(context: StepContext, inputs: Document) -> Document:
    """Judge the registered version on the held-out rows beside the champion; a version that fails ends here."""
    train, number = convert(inputs["train"], TrainSpec), int(inputs["registered"]["version"])
    version = context.call(registry.get_version, model=train.model, version=number)
    specs = convert(inputs["gates"], list[GateSpec])
    # The holdout ends when the training began; a policy says that moment too, and whoever says another chose the rows.
    is_chosen = context.params.get("at") not in (None, context.execution.event_at)
    rows: Document = inputs["rows"]
    report = evidence.run_and_record(context, context.child, version, rows, specs, is_stretch_chosen=is_chosen)
    if report.passed or not specs:  # where no deployment declares a gate there is nothing to pass
        return {"passed": True, "report_id": report.report_id}
    failed = "; ".join(result.message for result in report.results if result.verdict != "passed")
    context.call(
        pipeline.finish_training,
        execution_id=context.execution.execution_id,
        model=train.model,
        version=number,
        passed=False,
        reason=storable_text(failed),
    )
    return {"skip": True, "why": f"gates: {failed}", "passed": False, "report_id": report.report_id}


def finish_training(context: StepContext, inputs: Document) -> Document:
    """Tell the loop what was trained; reactions decide where it goes."""
    train = convert(inputs["train"], TrainSpec)
    registered: Document = inputs["registered"]
    if registered is None:
        raise InvalidInput("nothing was registered", field="registered")
    reason = str(context.params.get("reason") or context.execution.reason or f"{train.name} ran")
    context.call(
        pipeline.finish_training,
        execution_id=context.execution.execution_id,
        model=train.model,
        version=int(registered["version"]),
        passed=True,
        alias=train.alias,
        reason=reason,
    )
    return {"version": registered["version"]}
