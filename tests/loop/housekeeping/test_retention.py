"""Rows that nobody wants to keep go, unless something rests on them; whoever asks for them later is told."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.config import load_settings
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.loop import OperationContext
from loopwright.loop.housekeeping import retention
from loopwright.loop.housekeeping.retention import Expired, Pin, _pins
from loopwright.loop.why import why
from loopwright.monitoring import Window
from loopwright.monitoring.sql import save_window
from loopwright.server.background import Background
from loopwright.store import sql
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.streams import PREDICTIONS
from loopwright.store.tx import Tx
from loopwright.store.types import Removal, Retention
from tests.inprocess import InProcessWorker
from tests.loop.answering import answer
from tests.loop.conftest import LATE, Loop
from tests.loop.test_label_feed import Feed


@pytest.fixture
def loop(serving: Loop) -> Loop:
    """A deployment that answered once a day for ten days; no window is open and none waits for labels."""
    serving.train(reason="the first")
    serving.promote()
    return serving


def answer_daily(loop: Loop, days: int) -> list[str]:
    ids = []
    for day in range(days):
        ids.append(answer(loop, day + 1))
        loop.wall.at_us += DAY_US
    return ids


def chunks(loop: Loop) -> list[Any]:
    found: list[Any] = loop.service("chunks.find", kind="predictions", stream="late")
    return found


def free_of_pins(loop: Loop, monkeypatch: pytest.MonkeyPatch, *pins: Pin) -> None:
    monkeypatch.setattr("loopwright.loop.housekeeping.retention._pins_of_deployment", lambda _tx, _name: iter(pins))


def test_a_stream_that_is_not_there_is_no_stream_to_keep_rows_of(loop: Loop) -> None:
    for kind, stream, says in (
        ("predictions", "lat", "did you mean late"),
        ("pushes", "flight", "did you mean flights"),
        ("points", "tuning", "known: none"),
    ):
        with pytest.raises(NotFound, match=f"is named {stream}.*{says}"):
            loop("retention.set", kind=kind, stream=stream, keep="30d")
    assert loop("retention.list") == []
    declared = Retention("labels", "lat", 30 * DAY_US)
    with pytest.raises(NotFound, match=r"retentions.labels.lat.*did you mean late"):
        loop.apply(retentions=[declared])
    loop.apply(retentions=[Retention("points", "tuning", 30 * DAY_US), Retention("labels", "late", 30 * DAY_US)])
    loop.dispatcher.write("flights", LOCAL_ACTOR, lambda tx: sql.save_retention(tx, declared))
    loop("retention.set", kind="labels", stream="lat", keep="forever")
    assert Retention("labels", "lat", None) in loop("retention.list")


def test_nothing_goes_that_nobody_declared(loop: Loop) -> None:
    answer_daily(loop, 3)
    loop.wall.at_us += 1000 * DAY_US
    assert loop("retention.plan") == []
    assert loop("retention.apply") == []
    assert len(chunks(loop)) == 3


def test_what_is_older_than_declared_goes_and_is_told(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = answer_daily(loop, 10)
    free_of_pins(loop, monkeypatch)
    loop("retention.set", kind="predictions", keep="4d", reason="the law says so")
    [planned] = loop("retention.plan")
    before = {chunk.chunk_id: chunk for chunk in chunks(loop)}
    [removal] = loop("retention.apply")
    kept = chunks(loop)
    gone = [chunk for chunk in before.values() if chunk not in kept]
    assert [chunk.id_first for chunk in kept] == ids[-4:]
    assert (planned.chunks, planned.rows) == (removal.chunks, removal.rows) == (6, 6)
    assert removal.size_bytes == planned.size_bytes == sum(chunk.size_bytes for chunk in gone)
    assert (removal.start_at, removal.end_at) == (gone[0].event_at_min, gone[-1].event_at_max + 1)
    assert loop("retention.apply") == []

    told = [event for event in loop("audit.list", limit=1000) if event.type == "retention.removed"]
    assert [(event.payload["rows"], event.payload["start_at"]) for event in told] == [(6, removal.start_at)]
    context = OperationContext(
        loop.dispatcher, loop.blobs, loop.reactor, lambda seen, _: seen, "", "flights", LOCAL_ACTOR
    )
    with pytest.raises(NotFound, match="removed by retention on 2013"):
        why(context, prediction_id=ids[0])
    with pytest.raises(NotFound, match="no prediction of this project"):
        why(context, prediction_id="pred_unknown")


def test_chunks_that_were_merged_from_many_go_a_few_at_a_time(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each chunk that was merged a row stays with it: they go in one transaction, for which others wait."""
    answer_daily(loop, 10)
    free_of_pins(loop, monkeypatch)
    old = chunks(loop)
    loop("retention.set", kind="predictions", keep="1d")

    def remember(tx: Tx) -> None:
        for chunk in old:
            sql.remember_merged(
                tx.connection, chunk, [msgspec.structs.replace(chunk, seq=chunk.seq + n * 100) for n in range(3)]
            )

    loop.dispatcher.write("flights", LOCAL_ACTOR, remember)
    monkeypatch.setattr(retention, "MOST_MERGED", 7)
    assert [planned.chunks for planned in loop("retention.plan")] == [9]
    assert [removal.chunks for _ in range(6) for removal in loop("retention.apply")] == [2, 2, 2, 2, 1]
    monkeypatch.setattr(retention, "MOST_MERGED", 0)
    loop.wall.at_us += 2 * DAY_US
    assert [removal.chunks for removal in loop("retention.apply")] == [1], "one goes however many it is of"


def test_a_stream_of_its_own_declaration_is_kept_by_that(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_daily(loop, 10)
    free_of_pins(loop, monkeypatch)
    loop("retention.set", kind="predictions", keep="1d")
    loop("retention.set", kind="predictions", stream="late", keep="forever")
    assert loop("retention.apply") == []
    loop("retention.set", kind="predictions", stream="late", keep="8d")
    assert loop("retention.apply")[0].chunks == 2
    with pytest.raises(InvalidInput, match="a day at least"):
        loop("retention.set", kind="predictions", keep="1h")


def test_what_something_rests_on_stays_and_the_plan_says_why(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_daily(loop, 10)
    third = chunks(loop)[2]
    free_of_pins(loop, monkeypatch, Pin(third.event_at_min, "incident inc_1 is open"))
    loop("retention.set", kind="predictions", keep="1d")
    [planned] = loop("retention.plan")
    assert planned == Expired(
        "predictions", "late", 2, 2, planned.size_bytes, [Pin(third.event_at_min, "incident inc_1 is open")]
    )
    [removal] = loop("retention.apply")
    assert (removal.chunks, chunks(loop)[0]) == (2, third)


def test_windows_rollouts_and_jobs_pin_what_they_need(loop: Loop) -> None:
    answer_daily(loop, 2)
    loop("loop.start_export", deployment="late", start_at=5 * DAY_US, end_at=6 * DAY_US)
    pins = loop.dispatcher.read("flights", LOCAL_ACTOR, lambda tx: _pins(tx, "predictions", "late"))
    reasons = " | ".join(pin.why for pin in pins)
    assert "the window that is open" in reasons
    assert any("job" in pin.why and pin.start_at == 4 * DAY_US for pin in pins)
    loop.train(reason="better")  # its version rolls out by policy
    pins = loop.dispatcher.read("flights", LOCAL_ACTOR, lambda tx: _pins(tx, "labels", "late"))
    assert any("rollout" in pin.why for pin in pins)


@pytest.fixture
def feed(loop: Loop, blob_store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Feed:
    """A dataset that takes labels, where predictions and labels are kept for two days and nothing else needs them."""
    free_of_pins(loop, monkeypatch)
    for kind in ("predictions", "labels"):
        loop("retention.set", kind=kind, keep="2d")
    return Feed(loop, InProcessWorker(loop.dispatcher, blob_store, tmp_path, loop.wall))


def pass_days_without_feeds(feed: Feed, days: int) -> None:
    """Let days pass in which no worker takes labels."""
    for _ in range(days):
        feed.loop.pass_time(DAY_US)
        for job in feed.loop("jobs.list", states=["queued"], kind="loop.feed_labels"):
            feed.loop("jobs.cancel", job_id=job.job_id, reason="the worker is broken")


def told_pins(feed: Feed) -> dict[str, list[str]]:
    return {each.kind: [pin.why for pin in each.pins] for each in feed.loop("retention.plan") if each.pins}


def test_labels_that_no_feed_took_stay_and_so_do_their_predictions(feed: Feed) -> None:
    feed.rows("F1")
    feed.predict("E1")
    feed.loop.pass_time(HOUR_US)
    feed.predict("F1", "F2")
    feed.hour()
    feed.label(F1=1.0)
    pass_days_without_feeds(feed, 10)
    assert told_pins(feed) == {
        "labels": ["labels that flights has not taken yet"],
        "predictions": ["predictions of labels that flights has not taken yet"],
    }
    assert [(one.kind, one.rows) for one in feed.loop("retention.apply")] == [("predictions", 1)]
    feed.hour()
    assert feed.says == {"F1": True}
    assert told_pins(feed) == {}
    assert {one.kind for one in feed.loop("retention.apply")} == {"predictions", "labels"}


def test_predictions_that_came_late_stay_for_the_labels_that_waited(feed: Feed) -> None:
    feed.rows("F1")
    feed.label(F1=1.0)
    feed.hour()
    pass_days_without_feeds(feed, 1)
    feed.predict("F1")
    pass_days_without_feeds(feed, 10)
    waiting = "labels that wait for flights may be of predictions that came late"
    assert told_pins(feed) == {"predictions": [waiting]}
    assert {one.kind for one in feed.loop("retention.apply")} == {"labels"}
    feed.hour()
    assert feed.says == {"F1": True}


def test_labels_that_waited_for_a_month_keep_no_predictions(feed: Feed) -> None:
    feed.label(F1=1.0)
    feed.hour()
    feed.predict("F2")
    pass_days_without_feeds(feed, 29)
    assert "predictions" in told_pins(feed)
    pass_days_without_feeds(feed, 2)
    assert "predictions" not in told_pins(feed)


def test_labels_of_predictions_that_nobody_knows_keep_none_while_feeds_keep_up(feed: Feed) -> None:
    feed.predict("F1")
    feed.label(A0=1.0, Z0=1.0)
    feed.loop.pass_time(5 * DAY_US)
    feed.work()
    feed.label(A0=1.0, Z0=1.0)
    assert told_pins(feed) == {}
    feed.hour()
    assert "predictions" in {one.kind for one in feed.loop("retention.apply")}


def test_the_oldest_window_pins_its_rows_however_many_wait_for_labels(loop: Loop) -> None:
    wanted = Window("late", 0, 1, "closed", *(0, 0, 0, None, [], [], [], {}, "", 0))

    def close(tx: Tx) -> None:
        for quarter in range(1_010):
            start_at = quarter * 15 * MINUTE_US
            save_window(tx, msgspec.structs.replace(wanted, start_at=start_at, end_at=start_at + 1))

    loop.dispatcher.write("flights", SERVICE_ACTOR, close)
    pins = loop.dispatcher.read("flights", LOCAL_ACTOR, lambda tx: _pins(tx, "predictions", "late"))
    assert [pin.start_at for pin in pins if "matured" in pin.why] == [0]


def test_pushes_stay_until_two_versions_hold_them(loop: Loop) -> None:
    pins = loop.dispatcher.read("flights", LOCAL_ACTOR, lambda tx: _pins(tx, "pushes", "flights"))
    assert [pin.why for pin in pins] == ["no two versions hold what was pushed"]


def test_rows_of_a_closed_project_go_when_they_are_as_old_as_was_declared(loop: Loop, tmp_path: Path) -> None:
    ids = answer_daily(loop, 10)
    loop("retention.set", kind="predictions", keep="4d", reason="we promised")
    [planned] = loop("retention.plan")
    assert (planned.rows, bool(planned.pins)) == (0, True)
    parts: Any = SimpleNamespace(
        database=loop.dispatcher.database,
        dispatcher=loop.dispatcher,
        settings=load_settings(tmp_path),
    )
    server = Background(parts)
    loop("loop.close_project", reason="the desk moved on")
    server._remove_what_is_old()
    assert [chunk.id_first for chunk in chunks(loop)] == ids[-4:]
    loop.wall.at_us += 2 * DAY_US
    server._remove_what_is_old()
    assert [chunk.id_first for chunk in chunks(loop)] == ids[-2:]
    loop("loop.delete_project", name="flights", reason="done with it")
    loop.wall.at_us += 9 * DAY_US
    server._remove_what_is_old()
    assert len(chunks(loop)) == 2  # whoever removes the project removes them
    told = [event.payload["rows"] for event in loop("audit.list", type_prefix="retention.removed")]
    assert told == [2, 6]


def test_rows_of_a_closed_project_age_on_though_its_replay_clock_stands(loop: Loop) -> None:
    at = loop.wall.at_us - 365 * DAY_US

    def call(verb: str, project: str, actor: Any = LOCAL_ACTOR, **args: Any) -> Any:
        return loop.dispatcher.call(verb, args, actor=actor, project=project)

    call("projects.create", SYSTEM, name="old", clock="replay", clock_at=at)
    call("serving.declare", "old", spec=to_builtins(LATE))
    row = {"prediction_id": "pred_1", "event_at": at, "recorded_at": at, "release": 1, "is_shadow": False}
    frame = pl.DataFrame([row], schema=PREDICTIONS.schema())
    chunk = describe_chunk(
        frame, loop.blobs.put(pack_rows(frame)), kind="predictions", stream="late", writer="w", seq=1
    )
    call("chunks.register", "old", SERVICE_ACTOR, chunks=[to_builtins(chunk)])
    call("retention.set", "old", kind="predictions", keep="4d")
    loop.wall.at_us += 5 * DAY_US
    assert call("retention.apply", "old") == []  # its time stands still
    call("loop.close_project", "old", reason="done")
    loop.wall.at_us += 5 * DAY_US
    [removed] = loop.dispatcher.write("old", SERVICE_ACTOR, retention.apply)
    assert removed.rows == 1


def test_what_was_brought_in_just_now_is_seen_for_a_day(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(loop, 1, event_at=loop.wall.at_us - 400 * DAY_US)
    free_of_pins(loop, monkeypatch)
    loop("retention.set", kind="predictions", keep="30d")
    assert loop("retention.apply") == []
    loop.wall.at_us += DAY_US + 1
    [removal] = loop("retention.apply")
    assert isinstance(removal, Removal)
    assert chunks(loop) == []
