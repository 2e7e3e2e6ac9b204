"""The standard training pipeline, as a DAG: training set, fit, held-out evaluation, gates, refit, register."""

from typing import Any

from loopwright import registry, tracking
from loopwright.governance import require_job
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict
from loopwright.kernel.plugins import add_built_in
from loopwright.kernel.refs import parse_ref
from loopwright.kernel.verbs import verb
from loopwright.loop.events import Trained
from loopwright.loop.types import ProjectSpec, TrainSpec
from loopwright.pipelines import PipelineSpec, StepSpec
from loopwright.registry import ModelVersion
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx

add_built_in(
    "step_kinds",
    {
        "loop.join": "loopwright.loop.training.steps:join",
        "loop.cut": "loopwright.loop.training.steps:cut",
        "loop.profile": "loopwright.loop.training.steps:profile",
        "loop.evaluate": "loopwright.loop.training.steps:evaluate",
        "loop.register": "loopwright.loop.training.steps:register",
        "loop.gates": "loopwright.loop.training.steps:gates",
        "loop.finish_training": "loopwright.loop.training.steps:finish_training",
    },
)
add_built_in(
    "codecs",
    {
        "training_set": "loopwright.loop.training.codecs:TrainingSetCodec",
        "model": "loopwright.loop.training.codecs:ModelCodec",
    },
)


def training_pipeline(train: TrainSpec, spec: ProjectSpec) -> PipelineSpec:
    """Return the pipeline of one ``@p.train`` declaration.

    With a holdout: cut the rows in two, fit on those before it, evaluate on those of it, register, gate; where gates
    pass and ``refit`` is set, fit the same recipe on everything and register that. Without: only the latter.
    """
    document = to_builtins(train)
    gates = [
        to_builtins(gate)
        for deployment_spec in spec.deployments
        if deployment_spec.model == train.model
        for gate in deployment_spec.gates
    ]
    steps = [_training_set(document), *(_held_out(train, document, gates) if train.holdout_us else [])]
    if train.refit or not train.holdout_us:
        steps += _on_everything(train, document)
    last = "register_refit" if any(step.name == "register_refit" for step in steps) else "register"
    finish = StepSpec(
        name="finish",
        kind="loop.finish_training",
        inputs={
            "train": {"value": document},
            "registered": {"step": last},
            "gates": {"step": "gates"} if train.holdout_us else {"value": None},
            "at": {"param": "at"},
        },
        is_cached=False,
    )
    return PipelineSpec(train.name, [*steps, finish], {**train.params, "at": None, "reason": ""}, train.schedule_us)


def _held_out(train: TrainSpec, document: dict[str, Any], gates: list[Any]) -> list[StepSpec]:
    return [
        _cut("fit_set", document),
        _cut("holdout_set", document),
        _fit("fit", train, "fit_set"),
        _profile("profile", document, "fit_set"),
        StepSpec(
            name="evaluate",
            kind="loop.evaluate",
            inputs={"model": {"step": "fit"}, "rows": {"step": "holdout_set"}, "train": {"value": document}},
        ),
        _register("", document, "fit_set", {"step": "evaluate"}),
        StepSpec(
            name="gates",
            kind="loop.gates",
            inputs={
                "registered": {"step": "register"},
                "rows": {"step": "holdout_set"},
                "gates": {"value": gates},
                "train": {"value": document},
            },
            is_cached=False,
        ),
    ]


def _on_everything(train: TrainSpec, document: dict[str, Any]) -> list[StepSpec]:
    if not train.holdout_us:
        return [
            _fit("fit", train, "training_set"),
            _profile("profile", document, "training_set"),
            _register("", document, "training_set", {"value": {}}),
        ]
    return [
        _fit("fit_refit", train, "training_set", after=["gates"]),
        _profile("profile_refit", document, "training_set", after=["gates"]),
        _register("_refit", document, "training_set", {"step": "evaluate"}, refit_of={"step": "register"}),
    ]


def _training_set(document: dict[str, Any]) -> StepSpec:
    inputs: dict[str, dict[str, Any]] = {"train": {"value": document}, "at": {"param": "at"}}
    return StepSpec(name="training_set", kind="loop.join", inputs=inputs, is_cached=False)


def _cut(name: str, document: dict[str, Any]) -> StepSpec:
    """Return the step that cuts its part out of the training set: joined once, it holds for all that follows."""
    inputs: dict[str, dict[str, Any]] = {
        "train": {"value": document},
        "rows": {"step": "training_set"},
        "part": {"value": name.removesuffix("_set")},
        "at": {"param": "at"},
    }
    return StepSpec(name=name, kind="loop.cut", inputs=inputs, is_cached=False)


def _fit(name: str, train: TrainSpec, rows: str, after: list[str] | None = None) -> StepSpec:
    params: dict[str, dict[str, Any]] = {key: {"param": key} for key in train.params}
    inputs = {"": {"step": rows}, **params}
    return StepSpec(name=name, kind="call", function=train.function, inputs=inputs, after=after or [], retries=1)


def _profile(name: str, document: dict[str, Any], rows: str, after: list[str] | None = None) -> StepSpec:
    """Return the step that profiles the rows; nothing waits for it but the registration, so it runs beside the fit."""
    inputs: dict[str, dict[str, Any]] = {"train": {"value": document}, "rows": {"step": rows}}
    return StepSpec(name=name, kind="loop.profile", inputs=inputs, after=after or [], is_cached=False)


def _register(
    suffix: str,
    document: dict[str, Any],
    rows: str,
    metrics: dict[str, Any],
    refit_of: dict[str, Any] | None = None,
) -> StepSpec:
    return StepSpec(
        name=f"register{suffix}",
        kind="loop.register",
        inputs={
            "train": {"value": document},
            "model": {"step": f"fit{suffix}"},
            "rows": {"step": rows},
            "profile": {"step": f"profile{suffix}"},
            "metrics": metrics,
            "refit_of": refit_of or {"value": None},
            "at": {"param": "at"},
        },
        is_cached=False,
    )


@verb("loop.finish_training", changes=ModelVersion, internal=True)
def finish_training(
    tx: Tx, *, execution_id: str, model: str, version: int, passed: bool, alias: str = "", reason: str = ""
) -> ModelVersion:
    """Record the end of a training; ``loop.trained`` tells where the version goes. The same execution twice is once."""
    require_job(tx, "end a training", "finish_training")
    model_version = registry.get_version(tx, model=model, version=version)
    if (
        model_version.run
        and (own := tracking.get_run(tx, run_id=parse_ref(model_version.run).name).execution_id) != execution_id
    ):
        rule = "an execution ends with the version that it trained"
        raise Conflict("another execution trained this version", field="execution_id", value=own, rule=rule)
    ref = tx.ref("model", model, version)
    told = store_sql.events_of(tx, Trained, ref)
    if not any(event.read(Trained).execution_id == execution_id for event in told):
        tx.emit(Trained(execution_id, model, version, passed, alias), ref, reason=reason)
    return model_version
