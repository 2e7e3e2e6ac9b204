"""Running gates over evidence, so that whatever a gate does there is a verdict."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import msgspec

from loopwright.kernel.bounds import check_count
from loopwright.kernel.errors import InvalidInput, LoopwrightError
from loopwright.kernel.plugins import load_plugin
from loopwright.kernel.storable import storable_text, words_of
from loopwright.kernel.suggestions import nearest
from loopwright.registry.types import MEASURES, Evidence, GateResult, GateSpec, Verdict

Finding = tuple[Verdict, str]
Gate = Callable[..., Finding]
MOST_GATES = 30
"""Of a deployment: each is compared with those of every other deployment of its model."""
_ON_METRICS = ("at_least", "at_most", "beats_champion")


def check_specs(specs: Sequence[GateSpec], field: str = "gates", *, task: str = "") -> None:
    """Refuse gates that could never be evaluated, when they are declared; metrics only where a task is given.

    Raises:
        NotFound: No such gate is installed.
        InvalidInput: An argument is missing, unknown or of the wrong type, or a metric is none of the task.
    """
    check_count(specs, field, MOST_GATES)
    for index, spec in enumerate(specs):
        _, arguments = _bind(spec, f"{field}[{index}]")
        metric, known = arguments.get("metric"), MEASURES.get(task, ())
        if spec.kind in _ON_METRICS and known and metric not in known:
            near = nearest(str(metric), known)
            raise InvalidInput(
                f"gate {spec.kind}: this is no metric of a {task} task",
                field=f"{field}[{index}].metric",
                value=metric,
                rule=f"one of {', '.join(known)}",
                next_step=f"did you mean {near}?" if near else None,
            )


def run_gates(specs: Sequence[GateSpec], evidence: Evidence) -> list[GateResult]:
    """Return the verdict of each gate, in order. Never raises: a gate that cannot be evaluated is ``invalid``."""
    return [GateResult(spec, *_run(spec, evidence)) for spec in specs]


def _run(spec: GateSpec, evidence: Evidence) -> Finding:
    try:
        gate, arguments = _bind(spec, "gates")
        return gate(evidence, **arguments)
    except LoopwrightError as error:
        return "invalid", storable_text(str(error))
    except Exception as error:  # noqa: BLE001 - a gate is a plugin; what it breaks must not read as passed or stop the rest
        told = storable_text(words_of(error))
        return "invalid", f"the gate {spec.kind} broke: {type(error).__name__}: {told}"


def _bind(spec: GateSpec, field: str) -> tuple[Gate, dict[str, Any]]:
    gate: Gate = load_plugin("gates", spec.kind)
    signature, kinds = inspect.signature(gate), get_type_hints(gate)
    try:
        signature.bind(None, **spec.args)
    except TypeError as error:
        raise InvalidInput(f"gate {spec.kind}: {error}", field=field, value=spec.args) from None
    try:
        arguments = {name: msgspec.convert(value, type=kinds[name]) for name, value in spec.args.items()}
    except msgspec.ValidationError as error:
        raise InvalidInput(f"gate {spec.kind}: {error}", field=field, value=spec.args) from None
    if any(isinstance(value, float) and math.isnan(value) for value in arguments.values()):
        raise InvalidInput(f"gate {spec.kind}: NaN is no limit", field=field, value=spec.args)
    return gate, arguments


def measured(evidence: Evidence, metric: str) -> float | Finding:
    """Return a metric of the held-out rows, or the verdict where it may not be used.

    Rows the version was trained on would flatter it: then the verdict is ``invalid``, whatever the metric, and
    ``undecided`` where that is not known.
    """
    if evidence.overlap_rows:
        return (
            "invalid",
            f"{evidence.overlap_rows:,} of {evidence.rows:,} rows were in the version's own training set; "
            "evaluate on rows it has not seen",
        )
    value = evidence.metrics.get(metric)
    if evidence.rows <= 0 or value is None or math.isnan(value):
        return "undecided", f"{metric} was not measured on {evidence.rows:,} held-out rows"
    if evidence.overlap_rows is None:
        return (
            "undecided",
            f"{told(evidence, metric, value)}, and nobody knows whether it was trained on them; "
            "evaluate on rows from after its registration",
        )
    return value


def told(evidence: Evidence, metric: str, value: float) -> str:
    """Return the value as people read it: with its interval and how many rows it stands on."""
    low_high = evidence.intervals.get(metric)
    interval = f" (95 % interval {low_high[0]:.4g} to {low_high[1]:.4g})" if low_high and len(low_high) == 2 else ""
    return f"{metric} {value:.4g}{interval} on {evidence.rows:,} held-out rows"
