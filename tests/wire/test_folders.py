"""Locks of folders: who only looks keeps nobody out, who works in one does."""

import fcntl
import threading
from pathlib import Path

import pytest

from loopwright.kernel.errors import Unavailable
from loopwright.wire.folders import hold_folder, is_held
from tests.waiting import wait_until


def taken() -> Unavailable:
    return Unavailable("taken")


def test_whom_somebody_looks_at_waits_for_that_look_and_is_not_refused(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    is_in, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_folder(lock, 0, taken):
            is_in.set()
            may_end.wait(30)

    with lock.open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)  # as ``is_held`` does, stopped before it lets go
        holding = threading.Thread(target=hold)
        holding.start()
        assert not is_in.wait(0.3)
    assert is_in.wait(30)
    assert is_held(lock)
    may_end.set()
    holding.join()
    assert not is_held(lock)


def test_two_who_want_one_folder_while_others_look_get_it_one_by_one(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    is_over, inside, most, held = threading.Event(), [0], [0], [0, 0]

    def look() -> None:
        while not is_over.is_set():
            is_held(lock)

    def work(which: int) -> None:
        while held[which] < 20:
            with hold_folder(lock, 60, taken):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                held[which] += 1
                inside[0] -= 1

    looking = [threading.Thread(target=look) for _ in range(2)]
    working = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for thread in (*looking, *working):
        thread.start()
    try:
        wait_until(lambda: held == [20, 20])
    finally:
        is_over.set()
        for thread in (*looking, *working):
            thread.join()
    assert most == [1]


def test_a_folder_somebody_works_in_is_refused_at_once(tmp_path: Path) -> None:
    lock, refused = tmp_path / "lock", pytest.raises(Unavailable, match="taken")
    with hold_folder(lock, 0, taken), refused, hold_folder(lock, 0, taken):
        pass


def test_a_look_that_never_ends_is_told_of_as_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopwright.wire.folders._LOOK_LASTS_S", 0.1)
    lock = tmp_path / "lock"
    lock.touch()
    with lock.open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        with pytest.raises(Unavailable, match="taken"), hold_folder(lock, 0, taken):
            pass
