"""What a project file writes: constructors that refuse what cannot be, where it is written."""

import pytest

import loopwright as lw
from loopwright.data import CheckSpec, KnownAt
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import InvalidInput
from loopwright.monitoring import MonitorSpec
from loopwright.serving import CanaryStep, ShadowStep


def test_sources_stay_relative_to_the_project_file() -> None:
    assert (lw.source.parquet("data/").location, lw.source.csv("a.csv", zone="UTC").zone) == ("data/", "UTC")
    assert lw.source.push().kind == "push"
    with pytest.raises(InvalidInput, match="no time zone has this name"):
        lw.source.parquet("data/", zone="Mars/Olympus")
    with pytest.raises(InvalidInput, match="needs a path"):
        lw.source.parquet("")


def test_checks_are_those_of_the_data_room() -> None:
    assert lw.check.between("km", 0, 100) == CheckSpec("between", "km", {"low": 0, "high": 100})
    assert lw.check.fresh("at", within="2d", severity="warn").severity == "warn"
    with pytest.raises(InvalidInput, match="share"):
        lw.check.not_null("km", most_share=2.0)
    with pytest.raises(TypeError, match="severty"):
        lw.check.not_null("km", severty="warn")  # type: ignore[call-arg]


def test_a_wrong_duration_is_told_by_its_field() -> None:
    assert lw.after("seen_at", "1h") == KnownAt("seen_at", HOUR_US)
    assert lw.Shadow("7d", no_worse="rmse", at_most="14d") == ShadowStep(7 * DAY_US, "rmse", 0.01, 200, 14 * DAY_US)
    for wrong in (
        lambda: lw.Shadow("7 days", no_worse="rmse"),
        lambda: lw.Monitor(every="daily"),
        lambda: lw.when.older_than("two months"),
    ):
        with pytest.raises(InvalidInput, match=r"field: (hold|every|age)"):
            wrong()


def test_a_canary_is_one_step_a_weight() -> None:
    steps = lw.Canary([0.05, 0.25], hold="6h", guard=["error_rate"], least_rows=20)
    assert steps == [CanaryStep(weight, 6 * HOUR_US, ["error_rate"], 20) for weight in (0.05, 0.25)]
    with pytest.raises(InvalidInput, match=r"weights\[1\]"):
        lw.Canary([0.05, 1.5], hold="6h")


def test_gates_triggers_and_monitors_are_documents() -> None:
    assert lw.gate.at_most("rmse", 30.0).args == {"metric": "rmse", "value": 30.0}
    assert lw.gate.beats_champion("roc_auc").args["margin"] == 0.0
    assert lw.when.drift(features=3).args == {"features": 3}
    assert lw.when.decay("rmse", by=1.0).kind == "decay"
    assert lw.Monitor() == MonitorSpec(DAY_US)
    monitor = lw.Monitor(every="1d", span="28d", segments=["city"], value="true_positive", unit="EUR")
    assert (monitor.every_us, monitor.span_us, monitor.segments) == (DAY_US, 28 * DAY_US, ["city"])
    assert lw.Approve(retrain="policy").first == "person"


def test_a_model_file_is_inside_its_folder() -> None:
    made = lw.model("churn", file="out/model.onnx", task="multiclass", classes=["a", "b", "c"])
    assert (made.file, made.classes, made.features) == ("out/model.onnx", ["a", "b", "c"], None)
    for file in ("/tmp/model.onnx", "../model.onnx", ""):
        with pytest.raises(InvalidInput, match="cannot be an output"):
            lw.model("churn", file=file, task="binary")
