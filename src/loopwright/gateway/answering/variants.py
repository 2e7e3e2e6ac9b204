"""One variant of a release, loaded: its model and its plan, scored batch by batch, and what is logged of that."""

import time
from collections.abc import Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from loopwright.gateway.answering.inputs import ColumnReader, Columns, Encoded, Missing, Row
from loopwright.gateway.answering.splitting import find_failures
from loopwright.gateway.log.batches import Layout
from loopwright.kernel.errors import InvalidInput, LoopwrightError, StepFailed, shorten
from loopwright.kernel.storable import storable_text, words_of
from loopwright.serving import Release, Variant
from loopwright.store.streams import FEATURE_PREFIX, OTHER_ROW_FAILED, PREDICTIONS

if TYPE_CHECKING:
    from loopwright.gateway.answering.lookups import Found

_WARM_CALLS = 3
FeatureCache = dict[str, tuple[Columns, Missing]]
"""What each plan (by digest) computed for one list of rows."""


class ModelUnfit(InvalidInput):
    """A model cannot answer any request, so it does not go into traffic."""

    code = "model_unfit"


class _Unanswered(LoopwrightError):
    """A model gave rows no answer."""


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n,) for binary and regression, (n, classes) for multiclass, from float64 (n, k)."""
        ...


class PlanReader(Protocol):
    """Computes a plan's features for a batch of requests."""

    fields: list[str]

    def neutral_row(self) -> Row:
        """Return a request that means nothing, with a value of the right kind in every field."""
        ...

    def read(self, rows: Sequence[Row], at_us: Sequence[int]) -> tuple[Columns, Missing]:
        """Return the plan's columns and why values are missing.

        Raises:
            InvalidInput: A row lacks a field or holds a value of another kind.
            StepFailed: The user's function raised.
        """
        ...

    def look_up(self, rows: Sequence[Row], at_us: Sequence[int]) -> "Found":
        """Return the features that can be computed of what rows carry, and how old they are.

        Raises:
            InvalidInput: No row carries anything that features are looked up by, or a value is of another kind.
            StepFailed: The user's function raised.
        """
        ...


class Scored(NamedTuple):
    """What one variant found for a batch: a score or an answer for each row, or why there is none (``errors``)."""

    scores: list[float | None]
    answers: list[Any]
    missing: Missing
    logged: list[list[Any]]
    errors: dict[int, str]
    latency_us: int

    def unanswered(self) -> "Scored":
        """Return what is logged where the request failed: nobody got an answer, for rows that have no error either."""
        nothing: list[Any] = [None] * len(self.scores)
        errors = {row: self.errors.get(row, OTHER_ROW_FAILED) for row in range(len(nothing))}
        return self._replace(scores=nothing, answers=nothing, errors=errors)


class LoadedVariant:
    """A variant with its model in memory.

    Args:
        variant: As released.
        predictor: The model.
        plan: Computes its features; None where requests carry the model's columns.
        personal: Columns that are left out of the log.
    """

    def __init__(
        self, variant: Variant, predictor: Predictor, plan: PlanReader | None, personal: Sequence[str]
    ) -> None:
        self.variant = variant
        self.columns = ColumnReader(variant.signature)
        self.inputs = (variant.plan, tuple(self.columns.names))
        self._predictor, self.plan = predictor, plan
        self._kept = [index for index, name in enumerate(self.columns.names) if name not in personal]

    @property
    def fields(self) -> list[str]:
        """The request's fields where features are looked up; empty where requests carry the model's columns."""
        return self.plan.fields if self.plan is not None else []

    def layouts(self, release: Release) -> tuple[Layout, Layout]:
        """Return the layout of its log records, with features and without."""
        variant = self.variant
        constants = {
            "release": release.number,
            "variant": variant.name,
            "model_version": variant.version,
            "is_shadow": variant.is_shadow,
        }
        names = [self.columns.names[place] for place in self._kept]
        features = [(FEATURE_PREFIX + name, "str" if name in self.columns.texts else "f64") for name in names]
        return Layout.of(PREDICTIONS, constants, features), Layout.of(PREDICTIONS, constants)

    def score(self, rows: Sequence[Row], at_us: Sequence[int], features: FeatureCache, until: float = 0.0) -> Scored:
        """Answer a batch; an error of the model or of user code is part of the result.

        Args:
            rows: The requests' rows.
            at_us: When each happens, microseconds UTC.
            features: What plans have computed for these rows already; filled.
            until: ``time.perf_counter()`` until which it may be found out which rows are at fault where they fail
                together; all are where there is no time for that.

        Raises:
            InvalidInput: A row breaks a rule.
        """
        started = time.perf_counter()
        encoded = None
        try:
            encoded = self._encode(rows, at_us, features)
            scores, answers = self._predict(encoded, len(rows))
        except (StepFailed, _Unanswered) as error:
            if len(rows) == 1 or time.perf_counter() >= until:
                return self.failed(len(rows), error.message, started)
            return self._score_apart(rows, at_us, encoded, error.message, until)._replace(latency_us=_since(started))
        return Scored(scores, answers, encoded.missing, self._logged(encoded), {}, _since(started))

    def _score_apart(
        self, rows: Sequence[Row], at_us: Sequence[int], encoded: Encoded | None, why: str, until: float
    ) -> Scored:
        """Answer what can be answered of rows that failed together; ``encoded`` is None where the plan failed."""
        scores: list[float | None] = [None] * len(rows)
        answers: list[Any] = [None] * len(rows)
        logged: list[list[Any]] = [[None] * len(rows) for _ in self._kept]
        missing: Missing = {}

        def attempt(block: range) -> str | None:
            own = slice(block.start, block.stop)
            try:
                part = self._encode(rows[own], at_us[own], {}) if encoded is None else encoded.take(own)
                scores[own], answers[own] = self._predict(part, len(block))
            except LoopwrightError as error:
                return _told(error.message)
            except Exception as error:  # noqa: BLE001 - what plans raise beside is these rows' own now
                return _told(f"{type(error).__name__}: {words_of(error)}")
            missing.update({block.start + row: reasons for row, reasons in part.missing.items()})
            for column, values in zip(logged, self._logged(part), strict=True):
                column[own] = values
            return None

        errors = find_failures(len(rows), _told(why), attempt, until)
        return Scored(scores, answers, missing, logged, errors, 0)

    def check(self, rows: Sequence[Row], at_us: Sequence[int]) -> None:
        """Raise what is wrong with rows for this variant, without answering them.

        Raises:
            InvalidInput: A row breaks a rule.
            StepFailed: The user's function raised.
        """
        self._encode(rows, at_us, {})

    def failed(self, rows: int, why: str, started: float) -> Scored:
        """Return what is logged of rows that this variant could not answer, since ``started``."""
        nothing: list[Any] = [None] * rows
        errors = dict.fromkeys(range(rows), _told(why))
        return Scored(nothing, nothing, {}, [nothing for _ in self._kept], errors, _since(started))

    def _encode(self, rows: Sequence[Row], at_us: Sequence[int], features: FeatureCache) -> Encoded:
        if self.plan is None:
            return self.columns.read(rows)
        if self.variant.plan not in features:
            features[self.variant.plan] = self.plan.read(rows, at_us)
        columns, missing = features[self.variant.plan]
        return self.columns.encode(columns, {row: dict(reasons) for row, reasons in missing.items()})

    def _logged(self, encoded: Encoded) -> list[list[Any]]:
        """Return the columns that the log holds."""
        logged = self.columns.logged(encoded)
        return logged if len(self._kept) == len(logged) else [logged[place] for place in self._kept]

    def _predict(self, encoded: Encoded, rows: int) -> tuple[list[float | None], list[Any]]:
        """Return a score or an answer for each row.

        Raises:
            _Unanswered: The model raised, or answered what is no answer.
        """
        try:
            return self._answers(self._predictor.predict(encoded.matrix), rows)
        except Exception as error:  # a model may raise or answer anything; the log keeps what
            raise _Unanswered(f"{type(error).__name__}: {error}") from error

    def _answers(self, predicted: NDArray[np.float64], rows: int) -> tuple[list[float | None], list[Any]]:
        classes = self._classes(predicted, rows)
        # Numpy costs ten times as much as this on the one score that most requests ask for.
        if not all(map(isfinite, predicted.ravel().tolist())):
            raise ValueError("the model answered a score that is not a finite number")
        if not classes:
            return predicted.tolist(), [None] * rows
        best = predicted.argmax(axis=1).tolist()
        shares = predicted.tolist()
        answers = [
            {"class": classes[place], "probabilities": dict(zip(classes, row, strict=True))}
            for place, row in zip(best, shares, strict=True)
        ]
        return [None] * len(answers), answers

    def _classes(self, predicted: NDArray[np.float64], rows: int) -> Sequence[str]:
        """Return the names of the columns that a model answered; none where it answers one number a row."""
        signature = self.variant.signature
        shape = np.shape(predicted)
        has_classes = signature.task == "multiclass"
        if shape[:1] != (rows,) or len(shape) != 1 + has_classes:
            raise ValueError(f"the model answered the shape {shape} for {rows} rows of {signature.task}")
        if not has_classes:
            return ()
        classes = signature.classes or [str(index) for index in range(shape[1])]
        if len(classes) != shape[1]:
            raise ValueError(f"the model answered the shape {shape} for {len(classes)} classes")
        return classes

    def warm(self) -> float:
        """Have a neutral row answered, so that the first request does not pay for first-time work; return seconds.

        Raises:
            ModelUnfit: The model cannot answer at all: it raises, or answers another shape than its signature says.
        """
        matrix = np.zeros((1, len(self.columns.names)))
        quickest = inf
        try:
            for _ in range(_WARM_CALLS):
                started = time.perf_counter()
                self._classes(self._predictor.predict(matrix), 1)
                quickest = min(quickest, time.perf_counter() - started)
        except Exception as error:
            variant = self.variant
            raise ModelUnfit(
                f"version {variant.version} of {variant.model} cannot answer: {type(error).__name__}: {error}",
                field=f"variants.{variant.name}",
                rule="a model answers a row of its own signature",
                next_step="register it again with the columns that it was trained on",
            ) from error
        return quickest


def _told(why: str) -> str:
    """Return why rows were not answered as the log keeps it with each."""
    return storable_text(shorten(why, 500))


def _since(started: float) -> int:
    return int((time.perf_counter() - started) * 1e6)
