"""Verbs that declare pipelines: who may name which kind of step, and when the next scheduled start is."""

from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import plugged_names, plugin_names
from loopwright.kernel.verbs import verb
from loopwright.pipelines import sql
from loopwright.pipelines.definitions import (
    CALL,
    STEP_KIND_PLUGINS,
    check_definition,
    get_pipeline,
    schedule_key,
)
from loopwright.pipelines.events import PipelineDeclared
from loopwright.pipelines.executions import start_scheduled
from loopwright.pipelines.executors.pool import blob_digests
from loopwright.pipelines.types import Pipeline, PipelineSpec
from loopwright.store.tx import Tx


@verb("pipelines.declare", changes=Pipeline)
def declare(tx: Tx, *, spec: PipelineSpec) -> Pipeline:
    """Make a definition the one that new executions take; running executions keep theirs.

    Its steps are calls of user code, or of a kind that another package brings: the platform's own kinds act with the
    platform's rights, so that only definitions which the server built itself name them.

    Raises:
        InvalidInput: A name, kind or input is unknown, a kind is the platform's own, or the steps form a cycle.
    """
    check_declarable(spec)
    tx.require_blobs(*named_blobs(spec))
    return declare_built(tx, spec=spec)


def named_blobs(spec: PipelineSpec) -> list[str]:
    """Return the digests of all that a definition would open: values of its inputs and params, and its code."""
    code = {step.function.digest for step in spec.steps if step.function is not None}
    return sorted(code | blob_digests([spec.params, *(step.inputs for step in spec.steps)]))


def check_declarable(spec: PipelineSpec) -> None:
    """Refuse a definition with a step that runs the platform's own functions, with the platform's rights.

    Raises:
        InvalidInput: Names the step.
    """
    usable = {CALL, *plugged_names(STEP_KIND_PLUGINS)}
    for step in spec.steps:
        if step.kind not in usable and step.kind in plugin_names(STEP_KIND_PLUGINS):
            raise InvalidInput(
                "a step of the platform's own kind cannot be declared",
                field=f"steps.{step.name}.kind",
                value=step.kind,
                rule=f"one of {', '.join(sorted(usable))}",
                next_step="declare it with @p.train or p.command and apply the project",
            )


def declare_built(tx: Tx, *, spec: PipelineSpec) -> Pipeline:
    """Declare a definition that the server built itself; its steps may be of the platform's own kinds.

    Raises:
        InvalidInput: A name, kind or input is unknown, or the steps form a cycle.
    """
    check_definition(spec)
    pipeline = sql.find_pipeline(tx, spec.name)
    digest = digest_of(to_builtins(spec))
    if pipeline is not None and pipeline.digest == digest:
        return pipeline
    sql.put_pipeline(tx, digest, spec)
    if pipeline is None or pipeline.spec.schedule_us != spec.schedule_us:
        _plan(tx, spec)
    tx.emit(PipelineDeclared(digest, len(spec.steps)), tx.ref("pipeline", spec.name))
    return get_pipeline(tx, pipeline=spec.name)


def _plan(tx: Tx, spec: PipelineSpec) -> None:
    tx.cancel_later(schedule_key(spec.name))
    if spec.schedule_us is not None:
        due_at = tx.now_us + spec.schedule_us
        tx.later(due_at, schedule_key(spec.name), start_scheduled, pipeline=spec.name, due_at=due_at)
