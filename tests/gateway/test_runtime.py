"""One loaded release: what each variant is charged for, and that every failure of a candidate is in the log."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from loopwright.features import FeaturePlan
from loopwright.gateway.inputs import Columns, Missing, Row, absent_field
from loopwright.gateway.runtime import Answered, DeploymentRuntime
from loopwright.gateway.variants import LoadedVariant
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import InvalidInput
from loopwright.registry import InputColumn, Signature
from loopwright.serving import Release, Variant

CLASSES = ["no", "yes"]


class Model:
    """Answers what a function makes of the matrix."""

    def __init__(self, predict: Callable[[Any], Any]) -> None:
        self._predict = predict

    def predict(self, matrix: Any) -> Any:
        return self._predict(matrix)


class Plan:
    """Reads one column from a field that the request must carry."""

    def __init__(self, field: str) -> None:
        self.fields = [field]

    def read(self, rows: Sequence[Row], at_us: Sequence[int]) -> tuple[Columns, Missing]:
        if self.fields[0] == "bad":
            raise RuntimeError("boom")
        for place, row in enumerate(rows):
            if self.fields[0] not in row:
                raise absent_field(place, self.fields[0])
        return {"x0": [row[self.fields[0]] for row in rows]}, {}


GOOD = Model(lambda matrix: matrix[:, 0])


def runtime(
    candidate: Any,
    *,
    champion: Any = GOOD,
    weight: float = 0.5,
    is_shadow: bool = False,
    columns: tuple[str, str] = ("x0", "x0"),
    fields: tuple[str, str] | None = None,
    task: str = "binary",
) -> DeploymentRuntime:
    """Load a release of a champion and a candidate; ``fields`` gives each a plan that asks for one field."""
    variants, loaded, plans = [], [], {}
    for place, (name, model) in enumerate((("champion", champion), ("candidate", candidate))):
        signature = Signature([InputColumn(columns[place], "number")], task, CLASSES if task == "multiclass" else [])
        share = 0.0 if is_shadow and place else abs(1 - place - weight)
        plan = fields[place] if fields else ""
        variant = Variant(name, "late", place + 1, "test", [], signature, share, is_shadow and place == 1, plan=plan)
        variants.append(variant)
        if plan:
            plans[plan] = FeaturePlan("late", "", [], [], [], [])
        loaded.append(LoadedVariant(variant, model, Plan(plan) if plan else None, []))
    release = Release(1, "flights", "late", 2, 2, task, variants, plans, "", [], "test", 0, 0)
    return DeploymentRuntime(release, loaded, FixedClock(1_000_000))


def answer(made: DeploymentRuntime, rows: list[dict[str, Any]]) -> Answered:
    return made.answer(rows, [time.perf_counter()] * len(rows))


def logged(answered: Answered) -> dict[str, dict[str, list[Any]]]:
    """Return the log's columns by variant."""
    found = {}
    for batch in answered.batches:
        constants = {name: value for name, _, value in batch.layout.constants}
        names = [name for name, _ in batch.layout.columns]
        found[constants["variant"]] = dict(zip(names, batch.columns, strict=True))
    return found


ROWS = [{"x0": 0.25, "row_key": f"k{number}"} for number in range(40)]


class Watch:
    """A clock that stands still but for what a model says its work takes."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def read(self) -> float:
        return self.now_s

    def slow(self, matrix: Any) -> Any:
        """Predict, and take 50 ms for it."""
        self.now_s += 0.05
        return matrix[:, 0]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(time, "perf_counter", made.read)
    return made


def latencies(answered: Answered) -> dict[str, int]:
    """Return the microseconds that each variant was charged with, rounded to a millisecond."""
    return {name: round(columns["latency_us"][0], -3) for name, columns in logged(answered).items()}


def test_a_variant_is_not_charged_for_the_work_of_another(watch: Watch) -> None:
    assert latencies(answer(runtime(Model(watch.slow)), ROWS)) == {"champion": 0, "candidate": 50_000}
    swapped = runtime(GOOD, champion=Model(watch.slow))
    assert latencies(answer(swapped, ROWS)) == {"champion": 50_000, "candidate": 0}


def test_waiting_before_the_batch_counts_for_all(watch: Watch) -> None:
    found = runtime(GOOD).answer(ROWS, [watch.now_s - 0.5] * len(ROWS))
    assert latencies(found) == {"champion": 500_000, "candidate": 500_000}


@pytest.mark.parametrize(
    ("task", "model", "told"),
    [
        ("binary", Model(lambda matrix: matrix[:, 0] * np.nan), "finite"),
        ("regression", Model(lambda matrix: matrix[:, 0] * np.inf), "finite"),
        ("multiclass", Model(lambda matrix: np.full((len(matrix), 2), np.nan)), "finite"),
        ("binary", Model(lambda matrix: matrix[:-1, 0]), "shape"),
        ("binary", Model(lambda matrix: np.zeros((len(matrix), 2))), "shape"),
        ("multiclass", Model(lambda matrix: matrix[:, 0]), "shape"),
        ("multiclass", Model(lambda matrix: np.zeros((len(matrix), 3))), "shape"),
        ("binary", Model(lambda matrix: None), "shape"),
        ("regression", Model(lambda matrix: np.array(0.5)), "shape"),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_in_the_log(task: str, model: Any, told: str) -> None:
    champion = Model(lambda matrix: np.full((len(matrix), 2), 0.5)) if task == "multiclass" else GOOD
    found = answer(runtime(model, champion=champion, task=task), ROWS)
    assert told in str(found.error)
    columns = logged(found)
    assert told in columns["candidate"]["error"][0]
    assert set(columns["candidate"]["score"]) == {None}
    assert columns["champion"]["error"][0] is None


def test_a_candidate_that_asks_for_a_field_nobody_sends_is_at_fault_itself() -> None:
    found = answer(runtime(GOOD, fields=("x0", "fresh")), ROWS)
    columns = logged(found)
    assert "rows[0].fresh" in columns["candidate"]["error"][0]
    assert columns["champion"]["error"][0] is None
    direct = answer(runtime(GOOD, columns=("x0", "fresh")), ROWS)
    assert "fresh" in logged(direct)["candidate"]["error"][0]


def test_a_row_that_the_champion_would_refuse_too_is_the_callers_fault() -> None:
    rows = [*ROWS[:-1], {"row_key": "k39"}]
    with pytest.raises(InvalidInput) as refused:
        answer(runtime(GOOD, weight=0.999), rows)
    assert refused.value.field == "rows[39].x0"
    with pytest.raises(InvalidInput):
        answer(runtime(GOOD, weight=0.001, columns=("x0", "fresh")), [{"row_key": "k"}])


def test_whoever_asks_for_a_version_is_told_what_it_lacks() -> None:
    with pytest.raises(InvalidInput) as refused:
        runtime(GOOD, fields=("x0", "fresh")).answer(ROWS, [0.0] * len(ROWS), forced=1)
    assert refused.value.field == "rows[0].fresh"


def test_what_a_request_must_carry_is_said_by_the_champion() -> None:
    made = runtime(GOOD, weight=0.999, fields=("x0", "fresh"))
    assert made.variants[made.champion].fields == ["x0"]


def test_personal_values_are_not_in_the_error_either() -> None:
    found = answer(runtime(GOOD, fields=("x0", "name")), [{**row, "name": "Ada Lovelace"} for row in ROWS])
    assert found.error is not None
    assert "Ada" not in found.error


@pytest.mark.parametrize(("fields", "told"), [(("x0", "fresh"), "rows[0].fresh"), (("x0", "bad"), "boom")])
def test_a_shadow_may_raise_anything_and_it_is_its_own_error(fields: tuple[str, str], told: str) -> None:
    made = runtime(GOOD, is_shadow=True, weight=0.0, fields=fields)
    found = answer(made, ROWS)
    assert found.error is None
    assert found.shadow is not None
    (batch,) = made.answer_shadows(found.shadow)
    errors = dict(zip((name for name, _ in batch.layout.columns), batch.columns, strict=True))["error"]
    assert told in errors[0]
