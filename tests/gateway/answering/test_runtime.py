"""One loaded release: what each variant is charged for, and that every failure of a candidate is in the log."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from loopwright.features import FeaturePlan
from loopwright.gateway.answering.batching import Asked, answer_requests
from loopwright.gateway.answering.inputs import Columns, Missing, Row, absent_field
from loopwright.gateway.answering.runtime import Answered, DeploymentRuntime
from loopwright.gateway.answering.variants import LoadedVariant
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import InvalidInput, StepFailed, TooLarge
from loopwright.registry import InputColumn, Signature
from loopwright.serving import Release, Variant
from loopwright.store.streams import OTHER_ROW_FAILED

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
        if self.fields[0] == "bad" or any(row.get(self.fields[0]) == "boom" for row in rows):
            raise RuntimeError("boom")
        if self.fields[0] == "asked" and any(row["asked"] < 0 for row in rows):
            raise StepFailed("the function raised ValueError: below zero")
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
    assert set(columns["champion"]["error"]) == {OTHER_ROW_FAILED}


def test_a_candidate_that_asks_for_a_field_nobody_sends_is_at_fault_itself() -> None:
    found = answer(runtime(GOOD, fields=("x0", "fresh")), ROWS)
    columns = logged(found)
    assert "rows[0].fresh" in columns["candidate"]["error"][0]
    assert set(columns["champion"]["error"]) == {OTHER_ROW_FAILED}
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


class Picky:
    """A model that cannot answer a batch with a negative value in it; counts its calls and their rows."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, matrix: Any) -> Any:
        self.calls.append(len(matrix))
        if (matrix < 0).any():
            raise ValueError(f"{matrix.min()} is below zero")
        return matrix[:, 0]


def x_rows(count: int, *bad: int) -> list[dict[str, Any]]:
    """Return rows of which some cannot be answered."""
    return [{"x0": -1.0 if place in bad else place / count, "row_key": f"k{place}"} for place in range(count)]


ALL: dict[str, Any] = {"weight": 0.0}
"""Nothing goes to the candidate."""
SHADOW: dict[str, Any] = {"is_shadow": True, "weight": 0.0}


@pytest.mark.parametrize("bad", [[7], [0, 99], [7, 8, 50]])
def test_one_row_that_a_model_cannot_answer_is_one_failure(watch: Watch, bad: list[int]) -> None:
    model = Picky()
    found = answer(runtime(GOOD, champion=model, **ALL), x_rows(100, *bad))
    errors = logged(found)["champion"]["error"]
    told = "ValueError: -1.0 is below zero"
    assert errors == [told if place in bad else OTHER_ROW_FAILED for place in range(100)]
    assert sum(model.calls) <= 3 * 100
    assert len(model.calls) <= 1 + 25 + 4 * len(bad)


def test_the_caller_is_told_which_rows_to_leave_out(watch: Watch) -> None:
    made = runtime(GOOD, champion=Picky(), **ALL)
    why = answer(made, x_rows(100, 7)).failure()
    assert why is not None
    assert (why.http_status, why.code, why.field) == (500, "model_failed", "rows[7]")
    assert why.message == "the model could not answer rows[7]: ValueError: -1.0 is below zero"
    assert why.details["rows"] == [7]
    assert len(why.details["prediction_ids"]) == 100
    many = answer(made, x_rows(100, *range(40, 70))).failure()
    assert many is not None
    assert "rows[40], rows[41], rows[42] and 27 more" in many.message
    assert len(str(many.details["rows"])) < 200
    rest = [row for place, row in enumerate(x_rows(100, 7)) if place != 7]
    assert answer(made, rest).failure() is None


def test_rows_that_all_fail_are_not_named(watch: Watch) -> None:
    model = Picky()
    found = answer(runtime(GOOD, champion=model, **ALL), x_rows(200, *range(200)))
    assert set(logged(found)["champion"]["error"]) == {"ValueError: -1.0 is below zero"}
    why = found.failure()
    assert why is not None
    assert (why.field, "rows" in why.details) == (None, False)
    assert len(model.calls) <= 1 + 64


def test_a_request_carries_fewer_rows_where_many_features_are_looked_up_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [narrow] = {len(whole.columns) for whole, _ in runtime(GOOD)._layouts}
    monkeypatch.setattr("loopwright.gateway.answering.runtime.MOST_LOGGED_VALUES", 3 * narrow)
    made = runtime(GOOD)
    assert answer(made, [{"x0": 0.5}] * 3).error is None
    with pytest.raises(TooLarge, match="1 to 3"):
        answer(made, [{"x0": 0.5}] * 4)


def test_a_request_of_one_row_is_tried_once() -> None:
    model = Picky()
    found = answer(runtime(GOOD, champion=model, **ALL), x_rows(1, 0))
    assert (model.calls, found.error) == ([1], "ValueError: -1.0 is below zero")


def test_what_can_be_answered_is_tried_once() -> None:
    model = Picky()
    assert answer(runtime(GOOD, champion=model, **ALL), x_rows(100)).error is None
    assert model.calls == [100]


@pytest.mark.parametrize(
    ("waited_s", "takes_s", "is_looked_for"),
    [(0.0, 0.001, True), (9.9, 0.001, True), (10.0, 0.0, False), (9.0, 0.6, False)],
)
def test_rows_are_looked_for_until_half_of_what_was_left_of_the_time_for_a_request_is_gone(
    watch: Watch, waited_s: float, takes_s: float, is_looked_for: bool
) -> None:
    model = Picky()

    def slow(matrix: Any) -> Any:
        watch.now_s += takes_s
        return model.predict(matrix)

    made = runtime(GOOD, champion=Model(slow), **ALL)
    found = made.answer(x_rows(100, 7), [watch.now_s - waited_s] * 100)
    assert (len(found.errors) < 100, len(model.calls) > 1) == (is_looked_for, is_looked_for)
    assert set(logged(found)["champion"]["error"]) >= {"ValueError: -1.0 is below zero"}


def test_a_function_that_raises_for_one_row_costs_the_others_no_blame(watch: Watch) -> None:
    rows = [{"asked": -1.0 if place == 30 else place / 100} for place in range(100)]
    found = answer(runtime(GOOD, fields=("asked", "asked"), **ALL), rows)
    champion = logged(found)["champion"]
    told = "the function raised ValueError: below zero"
    assert champion["error"] == [told if place == 30 else OTHER_ROW_FAILED for place in range(100)]
    assert set(champion["score"]) == {None}
    assert champion["f.x0"] == [None if place == 30 else place / 100 for place in range(100)]


def test_rows_of_both_variants_were_not_answered_where_one_of_either_fails(watch: Watch) -> None:
    found = answer(runtime(GOOD, champion=Picky(), weight=0.5), x_rows(100, 7, 8, 9, 10))
    columns = logged(found)
    assert set(columns["candidate"]["error"]) == {OTHER_ROW_FAILED}
    assert set(columns["candidate"]["score"]) == {None}
    champion = dict(zip(columns["champion"]["row_key"], columns["champion"]["error"], strict=True))
    failed = {key for key, why in champion.items() if why != OTHER_ROW_FAILED}
    assert failed == {"k7", "k8", "k9", "k10"} & set(champion)
    why = found.failure()
    assert why is not None
    assert failed == {f"k{place}" for place in why.details["rows"]}
    assert failed


def test_a_shadow_answers_the_rows_that_it_can(watch: Watch) -> None:
    made = runtime(Picky(), **SHADOW)
    found = answer(made, x_rows(100, 7))
    assert found.error is None
    assert found.shadow is not None
    (batch,) = made.answer_shadows(found.shadow)
    columns = dict(zip((name for name, _ in batch.layout.columns), batch.columns, strict=True))
    assert columns["error"] == ["ValueError: -1.0 is below zero" if place == 7 else None for place in range(100)]
    assert columns["score"] == [None if place == 7 else place / 100 for place in range(100)]


def test_a_row_that_passes_the_second_time_is_answered(watch: Watch) -> None:
    calls: list[int] = []

    def moody(matrix: Any) -> Any:
        calls.append(len(matrix))
        if len(calls) == 1:
            raise ValueError("not in the mood")
        return matrix[:, 0]

    found = answer(runtime(GOOD, champion=Model(moody), **ALL), x_rows(100))
    assert found.error is None
    assert [prediction.score for prediction in found.predictions] == [place / 100 for place in range(100)]


def test_classes_of_rows_that_pass_are_those_of_a_whole(watch: Watch) -> None:
    def classes(matrix: Any) -> Any:
        if (matrix < 0).any():
            raise ValueError("below zero")
        return np.column_stack([1 - matrix[:, 0], matrix[:, 0]])

    made = runtime(Model(classes), champion=Model(lambda m: np.full((len(m), 2), 0.5)), task="multiclass", **SHADOW)
    shadow = answer(made, x_rows(40, 7)).shadow
    assert shadow is not None
    (batch,) = made.answer_shadows(shadow)
    columns = dict(zip((name for name, _ in batch.layout.columns), batch.columns, strict=True))
    assert columns["answer"][7] is None
    assert '"class":"yes"' in columns["answer"][39].replace(" ", "")


def test_requests_that_are_answered_together_are_parted_before_their_rows_are(watch: Watch) -> None:
    model = Picky()
    made = runtime(GOOD, champion=model, **ALL)
    rows = x_rows(60, 30)
    requests = {key: Asked(rows[20 * key : 20 * key + 20], watch.now_s) for key in range(3)}
    answers: dict[int, Any] = {key: found for keys, found in answer_requests(made, requests) for key in keys}
    assert [answers[key].error is None for key in range(3)] == [True, False, True]
    assert list(answers[1].errors) == [10]
    assert model.calls == [60, 20, 20, *[1] * 20, 20]
