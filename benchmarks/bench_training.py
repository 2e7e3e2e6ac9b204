"""Training sets cost about what the plainest join of the same rows costs, with late rows too.

The rival is one `join_asof` of Polars for each source, on frames in memory: it knows no known times, no reasons why a
value is missing, and no total order among ties.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from frame import Bench, timed

from loopwright.data import KnownAt
from loopwright.features import AggregateViewSpec, ColumnViewSpec, DatasetPushSpec, FeaturePlan, LabelSpec
from loopwright.features.join import build_training_set
from loopwright.features.meanings import plan_columns
from loopwright.features.requests import request_runner
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.code import CodeRef

ASKED, ROWS, COLUMNS, SOURCES, ENTITIES = 1_000_000, 2_000_000, 10, 3, 100_000
TTL_US, SPAN_US = 7 * DAY_US, 90 * DAY_US


def moments(values: np.ndarray) -> pl.Series:
    """Return microseconds as moments."""
    return pl.Series(values).cast(pl.Datetime("us", "UTC"))


def make_source(place: int, chance: np.random.Generator) -> pl.DataFrame:
    """Return rows of many entities, in no order, each with numbers."""
    at = chance.integers(0, SPAN_US, ROWS)
    numbers = {f"s{place}_{column}": chance.normal(size=ROWS) for column in range(COLUMNS)}
    late = at + chance.exponential(6 * HOUR_US, ROWS).astype(np.int64)
    return pl.DataFrame(
        {
            "row": np.arange(ROWS),
            "who": chance.integers(0, ENTITIES, ROWS),
            "at": moments(at),
            "late": moments(late),
            **numbers,
        }
    )


def make_asked(chance: np.random.Generator) -> pl.DataFrame:
    """Return labelled rows."""
    at = moments(chance.integers(SPAN_US // 3, SPAN_US, ASKED))
    label = chance.integers(0, 2, ASKED).astype(float)
    return pl.DataFrame({"id": np.arange(ASKED), "who": chance.integers(0, ENTITIES, ASKED), "at": at, "label": label})


def make_plan(known_at: dict[str, KnownAt]) -> FeaturePlan:
    """Return a plan that asks every source for its latest values."""
    views: list[ColumnViewSpec | AggregateViewSpec] = [
        ColumnViewSpec(f"v{place}", f"s{place}", "who", [f"s{place}_{column}" for column in range(COLUMNS)], TTL_US)
        for place in range(SOURCES)
    ]
    datasets = [DatasetPushSpec("asked", ["id"], "at", {"label": KnownAt("at", HOUR_US)})]
    datasets += [DatasetPushSpec(f"s{place}", ["row"], "at", known_at) for place in range(SOURCES)]
    label = LabelSpec("asked", "label")
    return FeaturePlan("s", "at", ["id"], [], views, datasets, plan_columns([], views), label, "binary")


def polars_joins(asked: pl.DataFrame, sources: list[pl.DataFrame]) -> pl.DataFrame:
    """Join each source as of each row's moment, rows of the last week alone."""
    joined = asked.sort("at")
    for place, source in enumerate(sources):
        names = [f"s{place}_{column}" for column in range(COLUMNS)]
        rows = source.select("who", "at", *names).sort("at")
        joined = joined.join_asof(rows, on="at", by="who", tolerance=f"{TTL_US}us", check_sortedness=False)
    return joined


def no_code(code: CodeRef) -> Callable[..., object]:
    """No function is asked."""
    raise KeyError(code)


def main() -> None:
    """Measure and claim."""
    bench = Bench("training")
    bench.progress(f"{ASKED:,} rows, {SOURCES} sources of {ROWS:,} rows x {COLUMNS}")
    chance = np.random.default_rng(0)
    asked = make_asked(chance)
    sources = [make_source(place, chance) for place in range(SOURCES)]
    scans = {"asked": asked.lazy(), **{f"s{place}": source.lazy() for place, source in enumerate(sources)}}

    def ours(known_at: dict[str, KnownAt]) -> pl.DataFrame:
        until = 2 * SPAN_US
        built = build_training_set(
            make_plan(known_at),
            scans,
            start_at=None,
            end_at=until,
            known_by=until,
            run_requests=request_runner(no_code),
        )
        return built.frame

    found, expected = ours({}).sort("row_id"), polars_joins(asked, sources)
    expected = expected.with_columns(pl.col("id").cast(pl.String)).sort("id")
    names = [f"s{place}_{column}" for place in range(SOURCES) for column in range(COLUMNS)]
    assert found.select(names).equals(expected.select(names)), "not the same values"
    bench.progress("equal")
    at_once, late, rival = timed(
        lambda: ours({}), lambda: ours({"*": KnownAt("late")}), lambda: polars_joins(asked, sources)
    )
    name = "join_asof of Polars, without known times"
    bench.claim("training set, known as it happens", at_once, "s", rival=rival, rival_name=name, goal="ratio >= 0.77")
    bench.claim("training set, rows known hours later", late, "s", rival=rival, rival_name=name)
    bench.finish()


if __name__ == "__main__":
    main()
