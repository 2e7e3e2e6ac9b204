"""Definitions: what a pipeline is, a checked DAG that is kept by its digest."""

from collections.abc import Collection

from loopwright.kernel.bounds import check_count, first_repeated
from loopwright.kernel.digests import Digest
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.plugins import add_built_in, plugin_names
from loopwright.kernel.refs import check_name
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import query
from loopwright.pipelines import sql
from loopwright.pipelines.agenda import topological, waits_for
from loopwright.pipelines.types import Pipeline, PipelineSpec, StepSpec
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx

CALL = "call"
"""The kind of steps that run user code in a child process."""
STEP_KIND_PLUGINS = "step_kinds"
"""Plugin kind of the functions that run steps: of this room, of rooms to the right, of other packages."""
add_built_in(STEP_KIND_PLUGINS, {CALL: "loopwright.pipelines.steps:run_call"})
_SOURCES = {"step", "param", "value"}


@query("pipelines.get_pipeline")
def get_pipeline(tx: Tx, *, pipeline: str) -> Pipeline:
    """Return a pipeline with its present definition."""
    found = sql.find_pipeline(tx, pipeline)
    if found is None:
        names = [pipeline.name for pipeline in sql.list_pipelines(tx)]
        hint = suggest(pipeline, names, "loopwright apply FILE declares it")
        unknown = NotFound(f"no pipeline is named {pipeline}", field="pipeline", value=pipeline, next_step=hint)
        raise missing(tx, "pipeline", pipeline, None, unknown)
    return found


@query("pipelines.list_pipelines")
def list_pipelines(tx: Tx) -> list[Pipeline]:
    """Return every pipeline by name."""
    return sql.list_pipelines(tx)


@query("pipelines.get_definition")
def get_definition(tx: Tx, *, digest: Digest) -> PipelineSpec:
    """Return a definition by its digest, as an execution names it."""
    pipeline_spec = sql.find_definition(tx, digest)
    if pipeline_spec is None:
        raise NotFound("no such definition", field="digest", value=digest)
    return pipeline_spec


def check_definition(spec: PipelineSpec) -> None:
    """Refuse a definition that cannot run.

    Raises:
        InvalidInput: Names the step and the rule.
    """
    check_name(spec.name, "name")
    check_count(spec.steps, "steps")
    check_count(spec.params, "params")
    if not spec.steps:
        raise InvalidInput("a pipeline needs a step", field="steps", next_step="call a @p.step inside the pipeline")
    names = [check_name(step.name, f"steps[{index}].name") for index, step in enumerate(spec.steps)]
    if repeated := first_repeated(names):
        raise InvalidInput("two steps have one name", field="steps", value=repeated)
    if spec.schedule_us is not None and spec.schedule_us <= 0:
        raise InvalidInput("a schedule goes forward", field="schedule_us", value=spec.schedule_us, rule="> 0")
    for step in spec.steps:
        _check_step(step, spec, {*names})
    topological(spec)


def _check_step(step: StepSpec, spec: PipelineSpec, names: Collection[str]) -> None:
    field = f"steps.{step.name}"
    _check_kind(step, field)
    check_count(step.inputs, f"{field}.inputs")
    check_count(step.after, f"{field}.after")
    for parameter, source in step.inputs.items():
        if len(source) != 1 or not set(source) <= _SOURCES:
            raise InvalidInput(
                "an input has one source",
                field=f"{field}.inputs.{parameter}",
                value=source,
                rule="step, param or value",
            )
        if "param" in source:
            _check_known(str(source["param"]), spec.params, "param", f"{field}.inputs.{parameter}")
    for name in sorted(waits_for(step)):
        _check_known(name, names, "step", f"{field}.inputs")
    if step.retries < 0 or step.timeout_s <= 0:
        raise InvalidInput("this cannot be run", field=field, rule="retries >= 0, timeout_s > 0")


def _check_known(name: str, known: Collection[str], what: str, field: str) -> None:
    if name not in known:
        message = f"no {what} is named {name}"
        raise InvalidInput(message, field=field, value=name, next_step=suggest(name, known))


def _check_kind(step: StepSpec, field: str) -> None:
    if step.kind == CALL:
        if step.function is None:
            raise InvalidInput("a call needs a function", field=f"{field}.function", rule="module:qualname and digests")
        return
    known = plugin_names(STEP_KIND_PLUGINS)
    if step.kind not in known:
        message, hint = f"no kind of step is named {step.kind}", suggest(step.kind, known)
        raise InvalidInput(message, field=f"{field}.kind", value=step.kind, next_step=hint)


def schedule_key(pipeline: str) -> str:
    """Return the key of a pipeline's timer; the colon keeps it from being the beginning of another's."""
    return f"pipelines.schedule:{pipeline}:"
