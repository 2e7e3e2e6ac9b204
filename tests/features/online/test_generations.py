"""A view is filled anew beside what answers: nobody misses a value, nothing that came meanwhile is lost."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.features import BoundView, bind_views
from loopwright.features.online import OnlineStore
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import Unavailable

UNTIL_US = 99 * HOUR_US


@pytest.fixture
def store(open_store: Callable[[], OnlineStore]) -> OnlineStore:
    return open_store()


@pytest.fixture
def view(small: Any) -> BoundView:
    return bind_views(small.plan, "p")[0]


def temperature(store: OnlineStore, view: BoundView, *origins: str) -> list[Any]:
    found = store.lookup([view], {"origin": list(origins)}, [3 * HOUR_US] * len(origins))
    return [None if value != value else value for value in found.columns["temp"].tolist()]


def test_the_old_rows_answer_until_the_new_ones_are_all_in(small: Any, store: OnlineStore, view: BoundView) -> None:
    store.fill(view, small.weather([("JFK", 1, 20.0, "clear"), ("LGA", 1, 10.0, "clear")]), ["a"], UNTIL_US)
    generation = store.grow(view.key)
    store.fill(view, small.weather([("JFK", 1, 21.0, "clear")]), ["b"], UNTIL_US, generation)
    assert temperature(store, view, "JFK", "LGA") == [20.0, 10.0]
    assert store.filled(view.key) == {"a"}
    assert store.switch(generation) == 2, "what answered before is dropped"
    assert temperature(store, view, "JFK", "LGA") == [21.0, None]
    assert store.filled(view.key) == {"b"}
    assert store.upkeep.view_keys("p") == {view.key}
    assert store.held([view.key]) == {view.key: "begun"}
    assert store.upkeep.forget(view.key) == 1
    assert store.held([view.key]) == {}
    assert store.upkeep.view_keys("p") == set()
    store.fill(view, small.weather([("JFK", 1, 20.0, "clear")]), ["a"], UNTIL_US)
    assert temperature(store, view, "JFK") == [20.0]


def test_what_is_pushed_or_filled_in_meanwhile_is_in_both(small: Any, store: OnlineStore, view: BoundView) -> None:
    store.fill(view, small.weather([("JFK", 1, 20.0, "clear")]), ["a"], UNTIL_US)
    generation = store.grow(view.key)
    assert store.push([view], small.weather([("LGA", 1, 5.0, "snow")])) == (1, 1)
    assert store.fill(view, small.weather([("EWR", 2, 6.0, "snow")]), ["c"], UNTIL_US) == (1, 1)
    assert temperature(store, view, "JFK", "LGA", "EWR") == [20.0, 5.0, 6.0]
    store.switch(generation)
    assert temperature(store, view, "JFK", "LGA", "EWR") == [None, 5.0, 6.0]
    assert store.filled(view.key) == {"c"}
    store.push([view], small.weather([("LGA", 2, 4.0, "snow")]))
    assert temperature(store, view, "LGA") == [4.0]


def test_a_fill_in_whose_place_another_began_ends_and_changes_nothing(
    small: Any, store: OnlineStore, view: BoundView
) -> None:
    rows = small.weather([("JFK", 1, 20.0, "clear")])
    store.fill(view, rows, ["a"], UNTIL_US)
    first = store.grow(view.key)
    store.fill(view, small.weather([("JFK", 1, 99.0, "clear")]), ["b"], UNTIL_US, first)
    second = store.grow(view.key)
    with pytest.raises(Unavailable, match="began meanwhile"):
        store.fill(view, rows, ["b"], UNTIL_US, first)
    with pytest.raises(Unavailable, match="began meanwhile"):
        store.switch(first)
    assert temperature(store, view, "JFK") == [20.0]
    store.fill(view, small.weather([("JFK", 1, 21.0, "clear")]), ["b"], UNTIL_US, second)
    store.switch(second)
    assert temperature(store, view, "JFK") == [21.0], "nothing of the first is left"
    assert store.switch(second) == 0, "whoever heard no answer says it again"
    assert temperature(store, view, "JFK") == [21.0]


def test_a_view_that_was_filled_anew_again_and_again_is_forgotten_whole(
    small: Any, store: OnlineStore, view: BoundView
) -> None:
    rows = small.weather([("JFK", 1, 20.0, "clear")])
    store.fill(view, rows, ["a"], UNTIL_US)
    store.fill(view, rows, ["a"], UNTIL_US, store.grow(view.key))
    for _ in range(3):
        generation = store.grow(view.key)
        store.fill(view, rows, ["a", "b"], UNTIL_US, generation)
        store.switch(generation)
        store.finish(view.key)
        assert store.filled(view.key) == {"a", "b"}
        if isinstance(store, SqliteOnlineStore):
            with store._file.reading() as connection:
                assert connection.execute("SELECT count(*) FROM fills").fetchone() == (3,)
    store.upkeep.forget(view.key)
    assert store.upkeep.view_keys("p") == set()
    assert store.upkeep.forget_left_over() == 0


def test_marks_that_an_earlier_version_left_are_forgotten(small: Any, tmp_path: Path, view: BoundView) -> None:
    store = SqliteOnlineStore(tmp_path / "online.sqlite")
    store.fill(view, small.weather([("JFK", 1, 20.0, "clear")]), ["a"], UNTIL_US)
    with store._file.writing() as connection:
        left = [("p/gone@1~01234567", "a"), ("p/gone@2~01234567", "#filled")]
        connection.executemany("INSERT INTO fills VALUES (?, ?)", left)
    assert store.upkeep.view_keys("p") == {view.key, "p/gone@1", "p/gone@2"}
    assert store.upkeep.forget_left_over() == 0
    assert store.upkeep.view_keys("p") == {view.key}
    assert store.filled(view.key) == {"a"}
    store.close()


def test_readers_and_pushes_beside_refills_miss_nothing(
    small: Any, open_store: Callable[[], OnlineStore], view: BoundView
) -> None:
    filler, pusher, reader = (open_store() for _ in range(3))
    names = [f"A{number}" for number in range(40)]
    rows = small.weather([(name, 1, 20.0, "clear") for name in names])
    filler.fill(view, rows, ["a"], UNTIL_US)
    is_over, missed, pushed = threading.Event(), [], []

    def read() -> None:
        while not is_over.is_set():
            missed.extend(value for value in temperature(reader, view, *names) if value != 20.0)

    def push() -> None:
        while not is_over.is_set():
            pushed.append(f"P{len(pushed)}")
            pusher.push([view], small.weather([(pushed[-1], 1, 7.0, "rain")]))

    threads = [threading.Thread(target=each) for each in (read, push)]
    for thread in threads:
        thread.start()
    for number in range(8):
        held = list(pushed)  # as the log gives a fill what was pushed before it began
        generation = filler.grow(view.key)
        since = [name for name in pushed if name not in held]
        again = small.weather([(name, 1, 7.0, "rain") for name in (*held, *since)])
        filler.fill(view, rows, [str(number)], UNTIL_US, generation)
        filler.fill(view, again, [], UNTIL_US, generation)
        filler.switch(generation)
    is_over.set()
    for thread in threads:
        thread.join()
    assert missed == []
    assert set(temperature(reader, view, *pushed)) == {7.0}
    assert filler.upkeep.forget_left_over() == 0
