"""Training sets against an oracle that looks at every row for every row."""

import math
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.data import DatasetVersion, read
from loopwright.features import DatasetPushSpec
from loopwright.features.join import build_training_set, entity_codes
from loopwright.features.rows import DatasetRows
from loopwright.features.training_rows import TrainingSet
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore, open_blob_store
from tests.data.history import History
from tests.features.conftest import FLIGHTS

Flight = tuple[str, int, int | None, str | None, str | None, float | None]
carriers = st.sampled_from(["UA", "B6", None])
origins = st.sampled_from(["JFK", "EWR", None])
delays = st.one_of(st.none(), st.integers(-20, 60).map(float))
flight_rows = st.lists(
    st.tuples(st.integers(0, 40), st.one_of(st.none(), st.integers(0, 50)), carriers, origins, delays), max_size=20
).map(lambda rows: [(f"F{place}", *row) for place, row in enumerate(rows)])
weather_rows = st.lists(
    st.tuples(origins, st.integers(0, 40), st.one_of(st.none(), st.floats(-9, 9)), st.sampled_from(["clear", None])),
    max_size=12,
    unique_by=lambda row: row[:2],
)


OUTCOME = ["flight_id", "landed_at", "delay", "is_late"]
_ALL = {"start_at": None, "end_at": 99 * HOUR_US, "known_by": 99 * HOUR_US}


def build(small: Any, flown: pl.DataFrame, seen: pl.DataFrame, **times: Any) -> pl.DataFrame:
    scans = {"flights": flown.lazy(), "weather": seen.lazy()}
    bounds = {"start_at": None, "end_at": 99 * HOUR_US, "known_by": 99 * HOUR_US, **times}
    return build_training_set(small.plan, scans, run_requests=small.run_requests, **bounds).frame


def window(flown: list[Flight], at: int, hours: int, entity: str | None, own: str) -> tuple[float | None, float | None]:
    """Share late and count of the carrier's flights of the last hours that had landed, without the asked one."""
    if entity is None:
        return None, None
    late = [
        delay > 15
        for name, scheduled, landed, carrier, _, delay in flown
        if name != own
        and carrier == entity
        and landed is not None
        and delay is not None
        and at - hours < scheduled <= at >= landed
    ]
    return (sum(late) / len(late) if late else None), float(len(late))


def minutes(flown: list[Flight], at: int, entity: str | None, own: str) -> float | None:
    """Minutes of delay of the origin's flights that became known in the last two hours, without the asked one."""
    if entity is None:
        return None
    found = [(origin, landed, delay) for name, _, landed, _, origin, delay in flown if name != own]
    known = [(landed + 1, delay) for origin, landed, delay in found if origin == entity and None not in (landed, delay)]
    return float(sum(delay for at_known, delay in known if at - 2 < at_known <= at))


def latest(seen: list[Any], at: int, entity: str | None) -> tuple[float | None, str | None]:
    """Temperature and sky of the newest observation that was complete, if younger than three hours."""
    found = [row for row in seen if entity is not None and row[0] == entity and row[1] + 1 <= at]
    newest = max(found, key=lambda row: row[1], default=None)
    return (None, None) if newest is None or at - newest[1] > 3 else (newest[2], newest[3])


@given(flight_rows, weather_rows)
def test_every_row_holds_what_could_have_been_known(small: Any, flown: list[Flight], seen: list[Any]) -> None:
    frame = build(small, small.flights(flown), small.weather(seen))
    labelled = [row for row in flown if row[2] is not None and row[5] is not None]
    expected = []
    for name, scheduled, _, carrier, origin, delay in sorted(labelled, key=lambda row: (row[1], row[0])):
        three, day = (window(flown, scheduled, hours, carrier, name) for hours in (3, 24))
        weather = latest(seen, scheduled, origin)
        recent = (three[0], day[0], three[1], day[1])
        head = (name, scheduled * HOUR_US, float(delay > 15), carrier, float(scheduled % 24))
        expected.append((*head, *weather, *recent, minutes(flown, scheduled, origin, name)))
    assert frame.rows() == expected


@settings(max_examples=30)
@given(flight_rows, weather_rows, st.randoms(use_true_random=False))
def test_order_of_rows_and_what_is_not_known_yet_change_nothing(
    small: Any, flown: list[Flight], seen: list[Any], random: Any
) -> None:
    expected = build(small, small.flights(flown), small.weather(seen), end_at=20 * HOUR_US)
    random.shuffle(flown)
    random.shuffle(seen)
    later = [(f"L{place}", 5, 60, "UA", "JFK", 50.0) for place in range(3)]
    again = build(
        small,
        small.flights([*flown, *later, *flown[:3]]),
        small.weather([*seen, ("JFK", 30, 99.0, "storm")]),
        end_at=20 * HOUR_US,
        known_by=55 * HOUR_US,
    )
    assert again.equals(expected.select(again.columns))


def test_only_rows_of_the_time_with_a_label_known_by_then(small: Any) -> None:
    flown = small.flights(
        [
            ("early", 1, 3, "UA", "JFK", 0.0),
            ("in", 5, 7, "UA", "JFK", 20.0),
            ("flying", 6, 30, "UA", "JFK", 0.0),
            ("cancelled", 7, None, "UA", "JFK", None),
            ("end", 9, 10, "UA", "JFK", 0.0),
        ]
    )
    scans = {"flights": flown.lazy(), "weather": small.weather([]).lazy()}
    times = {"start_at": 5 * HOUR_US, "end_at": 9 * HOUR_US, "known_by": 20 * HOUR_US}
    built = build_training_set(small.plan, scans, run_requests=small.run_requests, **times)
    assert built.frame["row_id"].to_list() == ["in"]
    assert built.unlabelled_rows == 2


def test_a_missing_column_and_a_missing_dataset_are_named(small: Any) -> None:
    flown = small.flights([("a", 1, 2, "UA", "JFK", 0.0)])
    with pytest.raises(InvalidInput, match="dataset weather has no column sky"):
        build(small, flown, small.weather([]).drop("sky"))
    with pytest.raises(InvalidInput, match="did you mean carrier"):
        build(small, flown.rename({"carrier": "carriers"}), small.weather([]))
    with pytest.raises(InvalidInput, match="no version of dataset flights"):
        build_training_set(small.plan, {}, start_at=None, end_at=1, known_by=1, run_requests=small.run_requests)


def test_moments_without_a_zone_are_refused(small: Any) -> None:
    flown = small.flights([("a", 1, 2, "UA", "JFK", 0.0)])
    with pytest.raises(InvalidInput, match="no time zone"):
        build(small, flown.with_columns(pl.col("scheduled_at").dt.replace_time_zone(None)), small.weather([]))


def test_a_correction_counts_from_when_it_is_known(small: Any) -> None:
    flown = [("a", 1, 2, "UA", "JFK", 0.0), ("a", 1, 6, "UA", "JFK", 60.0)]
    asked = [("before", 4, 90, "UA", "JFK", 0.0), ("after", 7, 91, "UA", "JFK", 0.0)]
    frame = build(small, small.flights(flown + asked), small.weather([]))
    shares = dict(frame.select("row_id", "carrier_late_share_1d").iter_rows())
    counts = dict(frame.select("row_id", "carrier_landed_1d").iter_rows())
    assert (shares["before"], counts["before"]) == (0.0, 1.0)
    assert (shares["after"], counts["after"]) == (1.0, 1.0)
    assert frame.filter(pl.col("row_id") == "a")["label"].to_list() == [1.0]


def test_user_code_gets_pandas_numpy_and_polars() -> None:
    frame = pl.DataFrame(
        {
            "row_id": ["a", "b", "c"],
            "event_at": [1, 2, 3],
            "label": [0.0, 1.0, 0.0],
            "carrier": ["UA", None, "B6"],
            "temp": [1.5, None, 2.0],
        }
    )
    rows = TrainingSet(frame, label="is_late", params={"rate": 0.1}, ref="training_set:late/1")
    features, label = rows.xy()
    assert list(features["carrier"].cat.categories) == ["B6", "UA"]
    assert features["carrier"].cat.codes.tolist() == [1, -1, 0]
    assert math.isnan(features["temp"][1])
    assert (label.name, label.tolist()) == ("is_late", [0.0, 1.0, 0.0])
    matrix, target = rows.numpy()
    assert matrix[:, 0].tolist()[::2] == [1.0, 0.0]
    assert math.isnan(matrix[1, 0])
    assert target.tolist() == label.tolist()
    assert rows.polars().columns == frame.columns
    assert (rows.columns, rows.label, rows.params) == (["carrier", "temp"], "is_late", {"rate": 0.1})
    before, after = rows.split(2)
    assert (before.row_ids.to_list(), after.row_ids.to_list()) == (["a"], ["b", "c"])


@pytest.mark.parametrize(
    ("rows", "asked", "found"),
    [
        (pl.Series([2**64 - 1, 2**64 - 2], dtype=pl.UInt64), pl.Series([2**64 - 1], dtype=pl.UInt64), [0]),
        (pl.Series([1, 2], dtype=pl.UInt64), pl.Series([2**64 - 1], dtype=pl.UInt64), [-1]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), pl.Series([-1], dtype=pl.Int64), [-1]),
        (pl.Series([-(2**62), 5 - 2**62]), pl.Series([None, 5 - 2**62], dtype=pl.Int64), [-1, 1]),
        (pl.Series([7, 9, 7], dtype=pl.Int16), pl.Series([9, 7, 8, 70_000], dtype=pl.Int64), [1, 0, -1, -1]),
        (pl.Series([7, 9]), pl.Series(["9", "x", None]), [1, -1, -1]),
        (pl.Series(["7", "9"]), pl.Series([9, 8]), [1, -1]),
        (pl.Series([7, None, 9]), pl.Series([9, None], dtype=pl.Int64), [2, -1]),
    ],
)
def test_an_entity_is_found_by_what_it_is_not_by_its_bits(rows: pl.Series, asked: pl.Series, found: list[int]) -> None:
    codes, wanted = entity_codes(rows, asked, "d.who")
    places = [next((at for at, code in enumerate(codes.tolist()) if code == one), -1) for one in wanted.tolist()]
    assert [place if one != -1 else -1 for place, one in zip(places, wanted.tolist(), strict=True)] == found


def test_a_nan_is_no_value_whatever_else_is_asked_of_its_column() -> None:
    rows = DatasetRows(
        DatasetPushSpec("d", ["id"], "at", {}), pl.DataFrame({"id": [1, 2], "at": [0, 0], "x": [math.nan, 2.0]})
    )
    assert [rows.fixed("x", is_counted=counted)[0].tolist() for counted in (True, False)] == [[True, False]] * 2


def train(small: Any, version: DatasetVersion, blobs: BlobStore, seen: pl.DataFrame, **times: Any) -> pl.DataFrame:
    scans = {"flights": read.stages(version, blobs), "weather": seen.lazy()}
    return build_training_set(small.plan, scans, run_requests=small.run_requests, **{**_ALL, **times}).frame


def before(flown: pl.DataFrame) -> pl.DataFrame:
    """The flights before anybody knew how they end."""
    return flown.with_columns(pl.lit(None, flown.schema[name]).alias(name) for name in OUTCOME[1:])


@settings(max_examples=40, deadline=None)
@given(flight_rows, weather_rows, st.randoms(use_true_random=False))
def test_outcomes_that_come_later_are_what_they_were_if_they_had_been_there(
    small: Any, flown: list[Any], observed: list[Any], random: Any
) -> None:
    flown = [(*row[:5], None if row[2] is None else row[5]) for row in flown]  # an outcome comes with its moment
    flights, seen = small.flights(flown), small.weather(observed)
    with TemporaryDirectory() as folder:
        blobs = open_blob_store(folder)
        if not flown:
            return
        whole = History(blobs, FLIGHTS).change("append", flights)
        parted = History(blobs, FLIGHTS).change("append", before(flights))
        random.shuffle(flown)
        for start in range(0, len(flown), 3):
            parted.change("complete", small.flights(flown[start : start + 3]).select(OUTCOME), 60 * HOUR_US)
        assert parted.newest.digest == whole.newest.digest
        for times in ({}, {"known_by": 25 * HOUR_US, "end_at": 30 * HOUR_US}):
            expected = train(small, whole.newest, blobs, seen, **times)
            assert train(small, parted.newest, blobs, seen, **times).equals(expected)


@pytest.fixture
def corrected(small: Any, blob_store: BlobStore) -> History:
    """UA1 landed at 3 with 30 minutes, which somebody corrects at 20 to 0; UA2 is asked at 10 and UA3 at 25."""
    flown = [("UA1", 1, 3, "UA", "JFK", 30.0), ("UA2", 10, 12, "UA", "JFK", 5.0), ("UA3", 24, 26, "UA", "EWR", 5.0)]
    history = History(blob_store, FLIGHTS).change("append", small.flights(flown))
    correction = pl.DataFrame({"flight_id": ["UA1"], "delay": [0.0], "is_late": [False]})
    return history.change("complete", correction, 20 * HOUR_US, corrects=True)


def test_a_correction_counts_from_when_it_came(small: Any, corrected: History, blob_store: BlobStore) -> None:
    frame = train(small, corrected.newest, blob_store, small.weather([]))
    rows = {row["row_id"]: row for row in frame.to_dicts()}
    assert rows["UA2"]["carrier_late_share_1d"] == 1.0
    assert rows["UA3"]["carrier_late_share_1d"] == 0.0
    assert rows["UA1"]["label"] == 0.0
    early = train(small, corrected.newest, blob_store, small.weather([]), known_by=19 * HOUR_US)
    assert early.filter(pl.col("row_id") == "UA1")["label"].to_list() == [1.0]


def test_inputs_are_what_a_request_said_at_its_own_moment(
    small: Any, corrected: History, blob_store: BlobStore
) -> None:
    correction = pl.DataFrame({"flight_id": ["UA1", "UA2"], "carrier": ["XX", "YY"]})
    known = pl.DataFrame({"seen": [21, 9]}).select((pl.col("seen") * HOUR_US).cast(pl.Datetime("us", "UTC")))
    corrected.change("complete", correction.hstack(known), 22 * HOUR_US, corrects=True, known_at="seen")
    frame = train(small, corrected.newest, blob_store, small.weather([]))
    assert dict(frame.select("row_id", "carrier").rows()) == {"UA1": "UA", "UA2": "YY", "UA3": "UA"}


def test_the_label_is_what_was_said_last(small: Any, corrected: History, blob_store: BlobStore) -> None:
    """Also where a note was made between, and where the label was taken back."""
    corrected.change("complete", pl.DataFrame({"flight_id": ["UA2"], "origin": ["EWR"]}), 21 * HOUR_US, corrects=True)
    back = pl.DataFrame({"flight_id": ["UA2"], "is_late": [True]})
    corrected.change("complete", back, 21 * HOUR_US, corrects=True)
    labels = dict(train(small, corrected.newest, blob_store, small.weather([])).select("row_id", "label").rows())
    assert labels == {"UA1": 0.0, "UA2": 1.0, "UA3": 0.0}
    flown = [("UA2", 10, 12, "UA", "EWR", 5.0)]
    withdrawn = small.flights(flown).with_columns(is_late=pl.lit(None, pl.Boolean))
    corrected.change("upsert", withdrawn, 30 * HOUR_US)
    for known_by, expected in ((29, {"UA1": 0.0, "UA2": 1.0, "UA3": 0.0}), (30, {"UA1": 0.0, "UA3": 0.0})):
        frame = train(small, corrected.newest, blob_store, small.weather([]), known_by=known_by * HOUR_US)
        assert dict(frame.select("row_id", "label").rows()) == expected
