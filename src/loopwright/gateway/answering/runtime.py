"""One release of one deployment, loaded: routes a batch of rows, computes features, predicts, and says what to log."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from loopwright.gateway.answering.failures import ModelFailed, model_failure
from loopwright.gateway.answering.inputs import Moments, Row, RowKey, RowKeys
from loopwright.gateway.answering.router import Router, bucket_of
from loopwright.gateway.answering.variants import FeatureCache, LoadedVariant, ModelUnfit, PlanReader, Scored
from loopwright.gateway.log.batches import Batch, StreamKey
from loopwright.gateway.marks import Marker, NoMarker
from loopwright.gateway.stamps import Stamped
from loopwright.kernel.clock import Clock
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, LoopwrightError, StepFailed, TooLarge
from loopwright.kernel.ids import new_ids
from loopwright.serving import CHAMPION, Release

MOST_ROWS = 10_000
MOST_LOGGED_VALUES = 8_000_000
"""Of the rows of one request, with the features that are looked up for them: about half of what a child may say."""
BUDGET_MS = 10_000
"""How long a request may take, unless its deployment says otherwise (``limits.timeout_ms``)."""
Down = Mapping[int, str]
"""Places of variants that are not to be tried now, each with why."""
NONE_DOWN: Down = {}


class Prediction(msgspec.Struct, omit_defaults=True):
    """One answered row."""

    prediction_id: str
    variant: str
    model_version: int
    score: float | None
    answer: Any = None
    missing: dict[str, str] | None = None


class Answered(NamedTuple):
    """A batch that is answered but not yet in the spool.

    ``errors`` says of rows that a model or user code raised on them, or was not tried (``is_paused``). Where there are
    any, nobody gets an answer.
    """

    predictions: list[Prediction]
    batches: list[Batch]
    errors: Mapping[int, str]
    shadow: "ShadowWork | None"
    is_paused: bool = False

    @property
    def error(self) -> str | None:
        """What is wrong with the first row that could not be answered; None where there is none."""
        return self.errors[min(self.errors)] if self.errors else None

    def failure(self) -> ModelFailed | None:
        """Return what the caller is told instead of predictions; None where there is nothing wrong."""
        if not self.errors:
            return None
        ids = [prediction.prediction_id for prediction in self.predictions]
        return model_failure(self.errors, ids, is_paused=self.is_paused)


class ShadowWork(NamedTuple):
    """What the shadows of a release still have to answer, with the features that are computed already."""

    rows: Sequence[Row]
    head: "Head"
    features: FeatureCache


class Head(NamedTuple):
    """The columns that every variant's log records of a batch share."""

    ids: list[str]
    keys: list[str | None]
    event_at: list[int]
    recorded_at: list[int]
    buckets: list[float | None]

    def take(self, places: Sequence[int]) -> "Head":
        """Return the rows at these places."""
        columns: list[list[Any]] = [self.ids, self.keys, self.event_at, self.recorded_at, self.buckets]
        return Head(*([column[i] for i in places] for column in columns))


class _Part(NamedTuple):
    """The rows of a batch that one variant was drawn for, by their places, and what it found for them."""

    variant: int
    places: Sequence[int]
    head: Head
    scored: Scored


class DeploymentRuntime:
    """A loaded release. It never changes: a swap replaces it, and requests keep the one they began with.

    Args:
        release: The document.
        variants: Its variants, loaded, in the document's order.
        clock: Wall time.
        marker: Told which variant runs.
    """

    def __init__(
        self, release: Release, variants: Sequence[LoadedVariant], clock: Clock, marker: Marker | None = None
    ) -> None:
        self.release, self._marker = release, marker or NoMarker()
        self.variants = list(variants)
        self.stream = StreamKey(release.project, "predictions", release.deployment)
        self.router = Router(release.variants)
        self._clock = clock
        self.champion = champion_place(release)
        plan = release.plans.get(release.variants[self.champion].plan)
        self._moments = Moments(release.clock, plan.time if plan else "")
        key = RowKey.of(plan, release.personal)
        self._keys, self._hides_keys = RowKeys(key), key.is_personal
        self._layouts = [variant.layouts(release) for variant in self.variants]
        widest = max(len(whole.columns) for whole, _ in self._layouts)
        self.most_rows = min(release.limits.get("rows", MOST_ROWS), max(1, MOST_LOGGED_VALUES // widest))
        self._shadows = [index for index, variant in enumerate(release.variants) if variant.is_shadow]
        served = {self.variants[place].inputs for place in self.router.live}
        self._is_bare = [variant.variant.is_shadow and served == {variant.inputs} for variant in self.variants]

    def answer(
        self,
        rows: Sequence[Row],
        started: Sequence[float],
        forced: int | None = None,
        *,
        stamped: Stamped | None = None,
        down: Down = NONE_DOWN,
        is_alone: bool = True,
    ) -> Answered:
        """Answer a batch of rows.

        Args:
            rows: The requests' rows.
            started: For each row, ``time.perf_counter()`` when its request came.
            forced: Place of the variant to use whatever the bucket says.
            stamped: The rows' ids and moments, where they are settled already.
            down: Variants that are not tried: their rows are logged with why.
            is_alone: The rows are of one request. If several fail together, it is not found out which rows do: each
                request is to be answered alone then.

        Raises:
            InvalidInput: A row breaks a rule; names ``rows[i].field``.
            TooLarge: There are too many rows.
        """
        if not 0 < len(rows) <= self.most_rows:
            kind = TooLarge if rows else InvalidInput
            raise kind("a request carries rows", field="rows", value=len(rows), rule=f"1 to {self.most_rows}")
        head, chosen = self._head(rows, forced, stamped)
        found: list[_Part] = []
        errors: dict[int, str] = {}
        features: FeatureCache = {}
        begun = time.perf_counter()
        until = self._until(begun, started[0]) if is_alone else 0.0
        for variant, places in chosen.items():
            is_whole = len(chosen) == 1
            part, inside = (rows, head) if is_whole else ([rows[i] for i in places], head.take(places))
            if variant in down:
                scored = self.variants[variant].failed(len(part), down[variant], begun)
            else:
                scored = self._score(variant, part, inside, places, features if is_whole else {}, until)
            errors.update({places[row]: why for row, why in scored.errors.items()})
            found.append(_Part(variant, places, inside, scored))
        predictions: list[Prediction | None] = [None] * len(rows)
        batches: list[Batch] = []
        for variant, places, inside, scored in found:
            answers = scored.unanswered() if errors else scored
            for place, prediction in zip(places, self._predictions(variant, inside.ids, answers), strict=True):
                predictions[place] = prediction
            # Every variant is charged for the wait and for its own work, not for that of the one before it.
            latency = [int((begun - started[place]) * 1e6) + scored.latency_us for place in places]
            batches.append(self._batch(variant, inside, answers, latency))
        shadow = ShadowWork(rows, head, features) if self._shadows else None
        answered = [prediction for prediction in predictions if prediction is not None]
        is_paused = any(variant in down for variant in chosen)
        return Answered(answered, batches, errors, shadow, is_paused)

    def _until(self, begun: float, came: float) -> float:
        """Return how long one may look for the rows that fail: half of what is left of the time for a request."""
        return begun + (came + budget_s(self.release) - begun) / 2

    def warm(self, sample: Sequence[Row] = ()) -> int:
        """Have a row answered before anybody waits for it, and return how long a row takes, in microseconds.

        Args:
            sample: Rows that the release before has answered. A champion that cannot is not fit; a candidate that
                cannot is what the rollout's guards are there for.

        Raises:
            ModelUnfit: A model, or the champion as a whole, cannot answer.
        """
        seconds = 0.0
        seen: set[str] = set()
        for index, variant in enumerate(self.variants):
            self._marker.enter(index)
            seconds = max(seconds, variant.warm())
            if variant.plan is not None and variant.variant.plan not in seen:
                seen.add(variant.variant.plan)
                seconds += _warm_plan(variant.plan, self._clock.now_us())
        self._marker.leave()
        if sample:
            answered = self.answer(sample, [time.perf_counter()] * len(sample), self.champion)
            if answered.error is not None:
                raise ModelUnfit(
                    f"the champion cannot answer a request that the release before did: {answered.error}",
                    field="variants.champion",
                    next_step="mend it, and deploy the new version",
                )
        return int(seconds * 1e6)

    def shadow_work(self, rows: Sequence[Row], forced: int | None, stamped: Stamped | None) -> ShadowWork:
        """Return what the shadows have to answer of rows that were answered before.

        Raises:
            InvalidInput: A row breaks a rule.
        """
        return ShadowWork(rows, self._head(rows, forced, stamped)[0], {})

    def answer_shadows(self, work: ShadowWork, down: Down = NONE_DOWN) -> list[Batch]:
        """Answer a batch with every shadow; what a shadow raises is logged, never told."""
        batches = []
        begun = time.perf_counter()
        until = self._until(begun, begun)
        for variant in self._shadows:
            scored = self._score_shadow(variant, work, down, until)
            latency = [scored.latency_us] * len(work.rows)
            batches.append(self._batch(variant, work.head, scored, latency))
        return batches

    def _score_shadow(self, variant: int, work: ShadowWork, down: Down, until: float) -> Scored:
        loaded, started = self.variants[variant], time.perf_counter()
        if variant in down:
            return loaded.failed(len(work.rows), down[variant], started)
        self._marker.enter(variant)
        try:
            return loaded.score(work.rows, work.head.event_at, work.features, until)
        except InvalidInput as error:
            return loaded.failed(len(work.rows), _told(error), started)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this shadow's and no other's
            return loaded.failed(len(work.rows), f"{type(error).__name__}: {error}", started)
        finally:
            self._marker.leave()

    def _score(
        self,
        variant: int,
        rows: Sequence[Row],
        head: "Head",
        places: Sequence[int],
        features: FeatureCache,
        until: float,
    ) -> Scored:
        loaded, started = self.variants[variant], time.perf_counter()
        self._marker.enter(variant)
        try:
            return loaded.score(rows, head.event_at, features, until)
        except InvalidInput as error:
            # A caller who chose the variant is told; one who was drawn into it sends what the champion asks for.
            is_drawn = head.buckets[0] is not None
            if is_drawn and variant != self.champion and self._suits_champion(rows, head.event_at):
                return loaded.failed(len(rows), _told(error), started)
            if len(places) < max(places) + 1:
                error.field = _renumbered(error.field, places)
            raise
        finally:
            self._marker.leave()

    def _suits_champion(self, rows: Sequence[Row], at_us: Sequence[int]) -> bool:
        try:
            self.variants[self.champion].check(rows, at_us)
        except (InvalidInput, StepFailed) as error:
            return isinstance(error, StepFailed)
        return True

    def _head(
        self, rows: Sequence[Row], forced: int | None, stamped: Stamped | None
    ) -> tuple[Head, dict[int, Sequence[int]]]:
        if stamped is None:
            now_us = self._clock.now_us()
            stamped = Stamped(new_ids("pred", len(rows), now_us), [now_us] * len(rows))
        ids, recorded_at = stamped
        event_at = self._moments.read(rows, recorded_at)
        keys = self._keys.read(rows)
        if forced is not None:
            nowhere: list[float | None] = [None] * len(rows)
            return Head(ids, self._shown(keys), event_at, recorded_at, nowhere), {forced: range(len(rows))}
        sticky, project, name = self.release.sticky, self.release.project, self.release.deployment
        buckets = []
        for row, key, id in zip(rows, keys, ids, strict=True):
            caller = row.get(sticky) if sticky else key
            buckets.append(bucket_of(name, project, str(caller if caller is not None else key or id)))
        head = Head(ids, self._shown(keys), event_at, recorded_at, list(buckets))
        if len(self.router.live) == 1:
            return head, {self.router.live[0]: range(len(rows))}
        chosen: dict[int, Any] = {}
        for index, bucket in enumerate(buckets):
            chosen.setdefault(self.router.pick(bucket), []).append(index)
        return head, chosen

    def _shown(self, keys: list[str | None]) -> list[str | None]:
        return [None] * len(keys) if self._hides_keys else keys

    def _predictions(self, variant: int, ids: Sequence[str], scored: Scored) -> list[Prediction]:
        name, version = self.release.variants[variant].name, self.release.variants[variant].version
        missing = scored.missing
        return [
            Prediction(id, name, version, score, answer, missing.get(row) if missing else None)
            for row, (id, score, answer) in enumerate(zip(ids, scored.scores, scored.answers, strict=True))
        ]

    def _batch(self, variant: int, head: Head, scored: Scored, latency_us: list[int]) -> Batch:
        rows = len(head.ids)
        missing: list[str | None] = [None] * rows
        for place, reasons in scored.missing.items():
            missing[place] = to_json(reasons).decode()
        errors: list[str | None] = [None] * rows
        for place, why in scored.errors.items():
            errors[place] = why
        answers = [None if answer is None else to_json(answer).decode() for answer in scored.answers]
        named: dict[str, list[Any]] = {
            "prediction_id": head.ids,
            "row_key": head.keys,
            "event_at": head.event_at,
            "recorded_at": head.recorded_at,
            "latency_us": latency_us,
            "score": scored.scores,
            "answer": answers,
            "error": errors,
            "missing": missing,
            "bucket": head.buckets,
        }
        if self._is_bare[variant]:
            return Batch.of(self._layouts[variant][1], rows, named)
        return Batch.of(self._layouts[variant][0], rows, named, scored.logged)


def budget_s(release: Release) -> float:
    """Return how long a request may take, seconds."""
    return float(release.limits.get("timeout_ms", BUDGET_MS)) / 1000


def champion_place(release: Release) -> int:
    """Return the place of the variant that says what requests look like, also while another one answers some."""
    return next(index for index, variant in enumerate(release.variants) if variant.name == CHAMPION)


def _warm_plan(plan: PlanReader, at_us: int) -> float:
    """Have a plan compute a neutral row, twice, and return the seconds of the second time.

    A function may rightly refuse a row that nobody sent, so what it raises says nothing.
    """
    started = time.perf_counter()
    for _ in range(2):
        started = time.perf_counter()
        with suppress(LoopwrightError):
            plan.read([plan.neutral_row()], [at_us])
    return time.perf_counter() - started


def _told(error: InvalidInput) -> str:
    """Return what is wrong without the value, which may be personal."""
    return f"{error.field}: {error.message}"


def _renumbered(field: str | None, places: Sequence[int]) -> str | None:
    """Return ``rows[i]…`` of a part of a batch as ``rows[j]…`` of the whole."""
    if field is None or not field.startswith("rows["):
        return field
    number, _, rest = field[5:].partition("]")
    return f"rows[{places[int(number)]}]{rest}"
