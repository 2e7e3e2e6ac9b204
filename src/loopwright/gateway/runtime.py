"""One release of one deployment, loaded: routes a batch of rows, computes features, predicts, and says what to log."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from loopwright.gateway.bodies import MOST_BODY_BYTES
from loopwright.gateway.inputs import Moments, Row, RowKeys
from loopwright.gateway.router import Router, bucket_of
from loopwright.gateway.spool import Batch, StreamKey
from loopwright.gateway.variants import FeatureCache, LoadedVariant, Scored
from loopwright.kernel.clock import Clock
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import InvalidInput, LoopwrightError, StepFailed, TooLarge
from loopwright.kernel.ids import new_ids
from loopwright.serving import CHAMPION, Release

MOST_ROWS = 10_000


class ModelFailed(LoopwrightError):
    """The model or a feature function raised; the request was fine."""

    code = "model_failed"
    http_status = 500


class Prediction(msgspec.Struct, omit_defaults=True):
    """One answered row."""

    prediction_id: str
    variant: str
    model_version: int
    score: float | None
    answer: Any = None
    missing: dict[str, str] | None = None


class Answered(NamedTuple):
    """A batch that is answered but not yet in the spool. ``error`` is set if a model or user code raised."""

    predictions: list[Prediction]
    batches: list[Batch]
    error: str | None
    shadow: "ShadowWork | None"


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
    recorded_at: int
    buckets: list[float | None]

    def take(self, places: Sequence[int]) -> "Head":
        """Return the rows at these places."""
        ids, keys, times = ([column[i] for i in places] for column in (self.ids, self.keys, self.event_at))
        return Head(ids, keys, times, self.recorded_at, [self.buckets[i] for i in places])  # type: ignore[arg-type]


class DeploymentRuntime:
    """A loaded release. It never changes: a swap replaces it, and requests keep the one they began with.

    Args:
        release: The document.
        variants: Its variants, loaded, in the document's order.
        clock: Wall time.
    """

    def __init__(self, release: Release, variants: Sequence[LoadedVariant], clock: Clock) -> None:
        self.release = release
        self.variants = list(variants)
        self.stream = StreamKey(release.project, "predictions", release.deployment)
        self.router = Router(release.variants)
        self.most_rows = release.limits.get("rows", MOST_ROWS)
        self.most_body_bytes = release.limits.get("body_bytes", MOST_BODY_BYTES)
        self._clock = clock
        self.champion = next(place for place, one in enumerate(release.variants) if one.name == CHAMPION)
        """Place of the variant that says what requests look like, also while another one answers some of them."""
        plan = release.plans.get(release.variants[self.champion].plan)
        self._moments = Moments(release.clock, plan.time if plan else "")
        self._keys = RowKeys(plan)
        self._hides_keys = plan is not None and any(name in release.personal for name in plan.key)
        self._layouts = [variant.layouts(release) for variant in self.variants]
        self._shadows = [place for place, variant in enumerate(release.variants) if variant.is_shadow]
        served = {self.variants[place].inputs for place in self.router.live}
        self._is_bare = [variant.variant.is_shadow and served == {variant.inputs} for variant in self.variants]

    def answer(self, rows: Sequence[Row], started: Sequence[float], forced: int | None = None) -> Answered:
        """Answer a batch of rows.

        Args:
            rows: The requests' rows.
            started: For each row, ``time.perf_counter()`` when its request came.
            forced: Place of the variant to use whatever the bucket says.

        Raises:
            InvalidInput: A row breaks a rule; names ``rows[i].field``.
            TooLarge: There are too many rows.
        """
        if not 0 < len(rows) <= self.most_rows:
            kind = TooLarge if rows else InvalidInput
            raise kind("a request carries rows", field="rows", value=len(rows), rule=f"1 to {self.most_rows}")
        head, chosen = self._head(rows, forced)
        predictions: list[Prediction | None] = [None] * len(rows)
        batches: list[Batch] = []
        failure: str | None = None
        features: FeatureCache = {}
        begun = time.perf_counter()
        for variant, places in chosen.items():
            is_whole = len(chosen) == 1
            part, inside = (rows, head) if is_whole else ([rows[i] for i in places], head.take(places))
            scored = self._score(variant, part, inside, places, features if is_whole else {})
            failure = failure or scored.error
            for place, prediction in zip(places, self._predictions(variant, inside.ids, scored), strict=True):
                predictions[place] = prediction
            # Every variant is charged for the wait and for its own work, not for that of the one before it.
            latency = [int((begun - started[place]) * 1e6) + scored.latency_us for place in places]
            batches.append(self._batch(variant, inside, scored, latency))
        shadow = ShadowWork(rows, head, features) if self._shadows else None
        return Answered([one for one in predictions if one is not None], batches, failure, shadow)

    def answer_shadows(self, work: ShadowWork) -> list[Batch]:
        """Answer a batch with every shadow; what a shadow raises is logged, never told."""
        batches = []
        for variant in self._shadows:
            loaded, started = self.variants[variant], time.perf_counter()
            try:
                scored = loaded.score(work.rows, work.head.event_at, work.features)
            except InvalidInput as error:
                scored = loaded.failed(len(work.rows), _told(error), started)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this shadow's and no other's
                scored = loaded.failed(len(work.rows), f"{type(error).__name__}: {error}", started)
            latency = [scored.latency_us] * len(work.rows)
            batches.append(self._batch(variant, work.head, scored, latency))
        return batches

    def _score(
        self, variant: int, rows: Sequence[Row], head: "Head", places: Sequence[int], features: FeatureCache
    ) -> Scored:
        loaded, started = self.variants[variant], time.perf_counter()
        try:
            return loaded.score(rows, head.event_at, features)
        except InvalidInput as error:
            # A caller who chose the variant is told; one who was drawn into it sends what the champion asks for.
            is_drawn = head.buckets[0] is not None
            if is_drawn and variant != self.champion and self._suits_champion(rows, head.event_at):
                return loaded.failed(len(rows), _told(error), started)
            if len(places) < max(places) + 1:
                error.field = _renumbered(error.field, places)
            raise

    def _suits_champion(self, rows: Sequence[Row], at_us: Sequence[int]) -> bool:
        try:
            self.variants[self.champion].check(rows, at_us)
        except (InvalidInput, StepFailed) as error:
            return isinstance(error, StepFailed)
        return True

    def _head(self, rows: Sequence[Row], forced: int | None) -> tuple[Head, dict[int, Sequence[int]]]:
        now_us = self._clock.now_us()
        event_at = self._moments.read(rows, now_us)
        keys = self._keys.read(rows)
        ids = new_ids("pred", len(rows), now_us)
        if forced is not None:
            nowhere: list[float | None] = [None] * len(rows)
            return Head(ids, self._shown(keys), event_at, now_us, nowhere), {forced: range(len(rows))}
        sticky, project, name = self.release.sticky, self.release.project, self.release.deployment
        buckets = []
        for row, key, id in zip(rows, keys, ids, strict=True):
            caller = row.get(sticky) if sticky else key
            buckets.append(bucket_of(name, project, str(caller if caller is not None else key or id)))
        head = Head(ids, self._shown(keys), event_at, now_us, list(buckets))
        if len(self.router.live) == 1:
            return head, {self.router.live[0]: range(len(rows))}
        chosen: dict[int, Any] = {}
        for place, bucket in enumerate(buckets):
            chosen.setdefault(self.router.pick(bucket), []).append(place)
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
        answers = [None if answer is None else to_json(answer).decode() for answer in scored.answers]
        columns: list[list[Any]] = [
            head.ids,
            head.keys,
            head.event_at,
            [head.recorded_at] * rows,
            latency_us,
            scored.scores,
            answers,
            [scored.error] * rows,
            missing,
            head.buckets,
        ]
        if self._is_bare[variant]:
            return Batch(self._layouts[variant][1], rows, columns)
        return Batch(self._layouts[variant][0], rows, columns + scored.logged)


def _told(error: InvalidInput) -> str:
    """Return what is wrong without the value, which may be personal."""
    return f"{error.field}: {error.message}"


def _renumbered(field: str | None, places: Sequence[int]) -> str | None:
    """Return ``rows[i]…`` of a part of a batch as ``rows[j]…`` of the whole."""
    if field is None or not field.startswith("rows["):
        return field
    number, _, rest = field[5:].partition("]")
    return f"rows[{places[int(number)]}]{rest}"
