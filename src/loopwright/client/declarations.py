"""Declarations a project file writes: small constructors for sources, checks, gates, rollouts, monitors, policies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from loopwright.data import declarations, source_specs
from loopwright.features import Aggregate
from loopwright.kernel.clock import parse_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import check_name
from loopwright.loop import ModelOutput, When
from loopwright.monitoring import MonitorSpec
from loopwright.registry import GateSpec, Task
from loopwright.serving import ApproveSpec, CanaryStep, ShadowStep

Who = Literal["person", "policy"]


class source:  # noqa: N801 - a namespace, written lw.source.parquet
    """Where rows come from; paths are relative to the project file, ``zone`` is that of moments stored without one."""

    parquet = staticmethod(source_specs.parquet)
    csv = staticmethod(source_specs.csv)
    jsonl = staticmethod(source_specs.jsonl)
    arrow = staticmethod(source_specs.arrow)
    excel = staticmethod(source_specs.excel)
    push = staticmethod(source_specs.push)
    frame = staticmethod(source_specs.frame)
    sql = staticmethod(source_specs.sql)
    topic = staticmethod(source_specs.topic)


class check:  # noqa: N801
    """Data-quality assertions about the rows that are imported together.

    ``severity="warn"`` lets pass and tells; ``most_share`` tolerates a share of rows; ``where`` is a condition in SQL,
    such as ``country = 'de'``: rows of which it is not true are left out.
    """

    not_null = staticmethod(declarations.not_null)
    between = staticmethod(declarations.between)
    is_in = staticmethod(declarations.is_in)
    unique = staticmethod(declarations.unique)
    matches = staticmethod(declarations.matches)
    length = staticmethod(declarations.length)
    dated = staticmethod(declarations.dated)
    increasing = staticmethod(declarations.increasing)
    holds = staticmethod(declarations.holds)
    refers_to = staticmethod(declarations.refers_to)
    statistic = staticmethod(declarations.statistic)
    usual = staticmethod(declarations.usual)
    usual_rows = staticmethod(declarations.usual_rows)
    row_count = staticmethod(declarations.row_count)
    fresh = staticmethod(declarations.fresh)


class agg:  # noqa: N801
    """Aggregates of one column over a window, counting only what was known by then."""

    @staticmethod
    def mean(column: str) -> Aggregate:
        """Mean of the known values; missing where there are none."""
        return Aggregate("", "mean", column)

    @staticmethod
    def sum(column: str) -> Aggregate:
        """Sum of the known values; 0 where there are none."""
        return Aggregate("", "sum", column)

    @staticmethod
    def count(column: str) -> Aggregate:
        """Number of known values."""
        return Aggregate("", "count", column)


class gate:  # noqa: N801
    """Machine checks a version passes before it may go live."""

    @staticmethod
    def at_least(metric: str, value: float) -> GateSpec:
        """The held-out metric is at least this."""
        return GateSpec("at_least", {"metric": metric, "value": value})

    @staticmethod
    def at_most(metric: str, value: float) -> GateSpec:
        """The held-out metric is at most this."""
        return GateSpec("at_most", {"metric": metric, "value": value})

    @staticmethod
    def beats_champion(metric: str, margin: float = 0.0) -> GateSpec:
        """The metric beats the champion's on the same held-out rows by more than ``margin``."""
        return GateSpec("beats_champion", {"metric": metric, "margin": margin})

    @staticmethod
    def latency(p99_ms: float) -> GateSpec:
        """One row is answered within this many milliseconds, 99 times of 100."""
        return GateSpec("latency", {"p99_ms": p99_ms})

    @staticmethod
    def data_checks() -> GateSpec:
        """No dataset version behind the training set is quarantined."""
        return GateSpec("data_checks", {})

    @staticmethod
    def no_skew() -> GateSpec:
        """Ask that no audit found served features otherwise than the datasets say: see ``Monitor(audit=…)``."""
        return GateSpec("no_skew", {})


class when:  # noqa: N801
    """Triggers of a retrain."""

    @staticmethod
    def drift(features: int) -> When:
        """At least this many features drift."""
        return When("drift", {"features": features})

    @staticmethod
    def decay(metric: str, *, by: float, against: Literal["holdout"] = "holdout", least_labels: int = 1000) -> When:
        """Quality on at least ``least_labels`` matured labels is certainly worse than held out, by more than ``by``.

        Certainly: all of its 95 % interval is. The monitor opens its incident of decay by the same limit.
        """
        return When("decay", {"metric": metric, "by": by, "against": against, "least_labels": least_labels})

    @staticmethod
    def older_than(age: str) -> When:
        """The champion was registered longer ago than this."""
        return When("older_than", {"age_us": parse_duration(age, "age")})


after = declarations.after


def model(
    name: str,
    *,
    file: str,
    task: Task,
    flavour: str = "",
    label: str = "",
    features: Sequence[str] | None = None,
    classes: Sequence[str] = (),
) -> ModelOutput:
    """Say that a command writes a model file, and what it is registered as.

    Args:
        name: The model's name.
        file: The file's name; its ending tells the flavour (``.txt`` LightGBM, ``.skops``, ``.onnx``).
        task: What it answers.
        flavour: The plugin, where the ending does not tell.
        label: Column of the rows that the model predicts, so that it is no input.
        features: Columns it reads, in order, where the file does not tell them.
        classes: Classes in output order, where the file does not tell them.
    """
    if not file or Path(file).is_absolute() or ".." in Path(file).parts:
        raise InvalidInput("this file cannot be an output", field="file", value=file, rule="a relative path")
    named = None if features is None else list(features)
    return ModelOutput(check_name(name, "model"), file, task, flavour, label, named, list(classes))


def Shadow(  # noqa: N802 - reads as the struct it makes
    hold: str, *, no_worse: str, margin: float = 0.01, least_labels: int = 200, at_most: str | None = None
) -> ShadowStep:
    """All traffic is answered twice, unseen, for ``hold``; the candidate goes on if it is no worse by ``margin``."""
    longest = None if at_most is None else parse_duration(at_most, "at_most")
    return ShadowStep(parse_duration(hold, "hold"), no_worse, margin, least_labels, longest)


def Canary(  # noqa: N802
    weights: Sequence[float], *, hold: str, guard: Sequence[str] = ("error_rate",), least_rows: int = 100
) -> list[CanaryStep]:
    """Growing shares of traffic (0..1), each for ``hold``; evidence of harm in a ``guard`` metric ends it."""
    for index, weight in enumerate(weights):
        if not 0 < weight < 1:
            raise InvalidInput(
                "a canary's weight is a share", field=f"weights[{index}]", value=weight, rule="0 < w < 1"
            )
    return [CanaryStep(weight, parse_duration(hold, "hold"), list(guard), least_rows) for weight in weights]


def Approve(  # noqa: N802
    *, first: Who = "person", retrain: Who = "person", allows_own: bool = False
) -> ApproveSpec:
    """Say who approves the first version and retrained ones: a ``person``, or ``policy`` where gates suffice.

    Nobody approves what they trained, registered or started; ``allows_own`` lets a team of one.
    """
    return ApproveSpec(first, retrain, allows_own)


def Monitor(  # noqa: N802
    *,
    every: str = "1d",
    grace: str = "0s",
    drift: str = "psi",
    above: float = 0.2,
    over: str | None = None,
    usual: bool = True,
    persist: int = 2,
    performance: str = "",
    span: str = "14d",
    label_lag: str = "1d",
    segments: Sequence[str] = (),
    ignore: Sequence[str] = (),
    value: str = "",
    unit: str = "",
    threshold: float = 0.5,
    decay: float = 0.03,
    channels: Sequence[str] = (),
    audit: str = "0s",
) -> MonitorSpec:
    """Say what to watch: windows of ``every``, drift above ``above``, quality over ``span``, ``value`` in ``unit``.

    Args:
        every: Length of a window of event time.
        grace: How long after its end a window closes.
        drift: Distance of a feature from the reference: psi, js, ks, wasserstein, missing.
        above: From where on it drifts.
        over: Drift is judged over the newest stretch of this length; None for the window alone.
        usual: True if it must also be beyond what such stretches of the reference reach themselves.
        persist: In so many windows in a row.
        performance: Metric of quality on matured labels; empty for the task's first.
        span: Quality is judged over this stretch.
        label_lag: How long after its end a window waits for labels.
        segments: Columns by whose values quality is told too.
        ignore: Columns whose distance means nothing.
        value: Worth of right and wrong answers, such as ``"25*true_positive - 5*false_positive"``.
        unit: What it is counted in.
        threshold: Score from which on the answer is yes, for ``value``.
        decay: How much worse than held out quality may certainly be.
        channels: Who hears of incidents: ``"log"``, ``"webhook:https://..."``.
        audit: After each such stretch some rows that were served are computed again from the datasets; features that
            are not equal to the bit are an incident which names the suspected cause. ``"0s"`` for never.
    """
    return MonitorSpec(
        every_us=parse_duration(every, "every"),
        grace_us=parse_duration(grace, "grace"),
        over_us=0 if over is None else parse_duration(over, "over"),
        usual=usual,
        drift=drift,
        above=above,
        persist=persist,
        performance=performance,
        span_us=parse_duration(span, "span"),
        label_lag_us=parse_duration(label_lag, "label_lag"),
        segments=list(segments),
        ignore=list(ignore),
        value=value,
        unit=unit,
        threshold=threshold,
        decay=decay,
        channels=list(channels),
        audit_us=parse_duration(audit, "audit"),
    )
