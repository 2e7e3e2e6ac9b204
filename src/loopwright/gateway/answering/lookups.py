"""Features looked up by key: what a prediction would be given at a moment, with how old it is; nothing is logged.

Like a question for predictions it is read by whoever answers it: the child of the release.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from loopwright.features import FeaturePlan
from loopwright.gateway.answering.failures import ModelFailed
from loopwright.gateway.answering.inputs import Missing, Moments, Row
from loopwright.gateway.answering.questions import Question
from loopwright.gateway.answering.runtime import DeploymentRuntime
from loopwright.gateway.answering.variants import LoadedVariant
from loopwright.gateway.bodies import decoded, encoded
from loopwright.gateway.values import EVER, Window, read_moment
from loopwright.kernel.clock import format_moment
from loopwright.kernel.errors import Conflict, InvalidInput, StepFailed, TooLarge
from loopwright.serving import Release

MOST_VALUES = 400_000
"""Features of all rows of one look-up."""
_MOST_ANSWER_BYTES = 64 << 20
_PERSONAL = "it is personal, and is told to nobody"


class FeaturesBody(msgspec.Struct):
    """Body of a look-up. ``at`` is the moment for rows that tell none of their own; default now."""

    rows: list[dict[str, Any]]
    at: str | int | None = None


class FeatureRow(msgspec.Struct):
    """The features of one row at a moment. ``ages_s`` is how long before it what is behind each value happened."""

    at: str
    values: dict[str, Any]
    ages_s: dict[str, float | None]
    missing: dict[str, str]


class FeaturesAnswer(msgspec.Struct):
    """Answer of a look-up. ``left_out`` says which features are not told, and why."""

    deployment: str
    release: int
    service: str
    model_version: int
    rows: list[FeatureRow]
    left_out: dict[str, str]


class Found(NamedTuple):
    """Features as they were looked up: the columns that could be, why values are missing, and how old each is.

    ``ages_us`` has None where no row is behind a value. ``left_out`` says of features why they were not looked up.
    """

    columns: dict[str, Sequence[Any]]
    missing: Missing
    ages_us: dict[str, Sequence[int | None]]
    left_out: dict[str, str]


def look_up_features(runtime: DeploymentRuntime, question: Question, now_us: int) -> bytes:
    """Return the body of the answer: what the champion of a release would be given for each row.

    Args:
        runtime: The release, loaded.
        question: Its body is a ``FeaturesBody``.
        now_us: The wall clock's present, microseconds UTC.

    Raises:
        InvalidInput: The body cannot be read, or a row breaks a rule; names ``rows[i].field``.
        TooLarge: There are too many rows.
        Conflict: The champion looks nothing up.
        ModelFailed: An on-request function raised.
    """
    release, champion = runtime.release, runtime.variants[runtime.champion]
    plan = plan_of(release, runtime.champion)
    body: FeaturesBody = decoded(_read_body, question.body)
    most_rows = min(runtime.most_rows, max(1, MOST_VALUES // len(champion.columns.names)))
    if not 0 < len(body.rows) <= most_rows:
        kind = TooLarge if body.rows else InvalidInput
        raise kind("a look-up carries rows", field="rows", value=len(body.rows), rule=f"1 to {most_rows}")
    at_us = _moments(body, release, plan, now_us)
    try:
        found = champion.plan.look_up(body.rows, at_us)  # type: ignore[union-attr] # plan_of has made sure of one
    except StepFailed as error:
        raise ModelFailed(
            error.message, field=error.field, rule=error.rule, next_step="leave the inputs of that function out"
        ) from error
    left_out = {**found.left_out, **dict.fromkeys(set(champion.columns.names) & set(release.personal), _PERSONAL)}
    written = encoded(
        FeaturesAnswer(
            question.name,
            release.number,
            plan.service,
            champion.variant.version,
            list(_rows(champion, found, at_us, left_out)),
            {name: left_out[name] for name in champion.columns.names if name in left_out},
        )
    )
    if len(written) > _MOST_ANSWER_BYTES:
        raise TooLarge("these rows have too much to tell", field="rows", value=len(body.rows), rule="send fewer rows")
    return written


def plan_of(release: Release, champion: int) -> FeaturePlan:
    """Return the plan by which a release's champion looks features up.

    Raises:
        Conflict: It looks nothing up: requests carry all that its model reads.
    """
    digest = release.variants[champion].plan
    if not digest:
        raise Conflict(
            f"{release.deployment} looks no features up: requests carry all that its model reads",
            field="deployment",
            value=release.deployment,
            rule="a deployment whose model was trained with a feature service",
            next_step="ask a deployment that has one; its page names its feature service",
        )
    return release.plans[digest]


def _moments(body: FeaturesBody, release: Release, plan: FeaturePlan, now_us: int) -> list[int]:
    """Return the moment of each row: its own or that of the body in replay projects, that or now elsewhere."""
    moments, is_replay = Moments(release.clock, plan.time), release.clock == "replay"
    given = None
    if body.at is not None:
        given = read_moment(body.at, "at", EVER if is_replay else Window(EVER.first_us, now_us))
    rows: Sequence[Row] = body.rows
    if is_replay and given is not None:
        has_own = [row.get("event_at", row.get(plan.time)) is not None for row in rows]
        rows = [row if own else {"event_at": given} for row, own in zip(rows, has_own, strict=True)]
    return moments.read(rows, [now_us if given is None else given] * len(rows))


def _rows(
    champion: LoadedVariant, found: Found, at_us: Sequence[int], left_out: dict[str, str]
) -> Iterator[FeatureRow]:
    """Yield what is told of each row, as a prediction would be given and would log it."""
    columns = champion.columns
    nothing: list[Any] = [None] * len(at_us)
    whole = columns.encode({name: found.columns.get(name, nothing) for name in columns.names}, found.missing)
    logged = dict(zip(columns.names, columns.logged(whole), strict=True))
    told = [name for name in columns.names if name not in left_out]
    for row, at in enumerate(at_us):
        reasons = whole.missing.get(row, {})
        ages = {name: found.ages_us[name][row] for name in told}
        yield FeatureRow(
            format_moment(at),
            {name: logged[name][row] for name in told},
            {name: None if age is None else age / 1e6 for name, age in ages.items()},
            {name: reasons[name] for name in told if name in reasons},
        )


_read_body = msgspec.json.Decoder(FeaturesBody)
