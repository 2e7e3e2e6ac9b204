"""Checkpoints: a log that was cut, changed or exchanged is told by what was signed of it elsewhere."""

from pathlib import Path

import msgspec
import pytest

from loopwright.governance.checkpoints import (
    EVERY_EVENTS,
    EVERY_US,
    MISSING_EVENTS,
    MISSING_US,
    MOST_KEPT,
    Checkpoint,
    Checkpoints,
    Pacemaker,
    read_keys,
)
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput
from loopwright.store.sealing import LogEnd
from loopwright.store.shelves import open_shelf

KEY, OTHER = b"k" * 32, b"o" * 32


def chain(position: int) -> str:
    return f"{position:064x}"


def end(position: int, at: int = 0) -> LogEnd:
    return LogEnd(position, chain(position), at)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def place(folder: Path) -> Checkpoints:
    return opened(folder, KEY)


def opened(folder: Path, *keys: bytes) -> Checkpoints:
    return Checkpoints(open_shelf(str(folder), "checkpoint"), keys, str(folder))


def problems(place: Checkpoints, log: LogEnd, first_at: int = 0) -> list[str]:
    chains = {position: chain(position) for position in range(log.position + 1)}
    return place.problems(chains, place.names(), log, first_at)


def test_a_log_that_grew_holds(place: Checkpoints) -> None:
    for position in (10, 20):
        place.reach(end(position), 5)
    assert problems(place, end(20)) == problems(place, end(35)) == []


def test_a_log_that_was_cut_is_told(place: Checkpoints) -> None:
    place.reach(end(20), 5)
    (told,) = problems(place, end(10))
    assert "ends at position 10" in told
    assert "the last 10 events are gone" in told


def test_a_log_that_was_cut_and_grew_again_is_told(place: Checkpoints) -> None:
    place.reach(end(20), 5)
    chains = {position: chain(position) for position in range(20)} | {20: "f" * 64}
    (told,) = place.problems(chains, place.names(), end(30), 0)
    assert "event 20 or one before it was replaced" in told


def test_a_word_that_was_changed_is_told(place: Checkpoints, folder: Path) -> None:
    place.reach(end(20), 5)
    (file,) = folder.iterdir()
    changed = msgspec.structs.replace(from_json(file.read_bytes(), Checkpoint), position=10, chain=chain(10))
    file.write_bytes(to_json(changed))
    (told,) = problems(place, end(10))
    assert "changed after it was signed, or is forged" in told
    file.write_bytes(b"{")
    assert "forged" in problems(place, end(10))[0]


def test_who_has_no_key_cannot_give_a_checkpoint_up(place: Checkpoints, folder: Path) -> None:
    place.reach(end(20), 5)
    opened(folder, OTHER).put_back(end(10), place.names(), 6, "trust me")
    told = problems(place, end(10))
    assert any("the last 10 events are gone" in each for each in told)
    assert any("not known here" in each for each in told)


def test_keys_may_be_exchanged(place: Checkpoints, folder: Path) -> None:
    place.reach(end(20), 5)
    both = opened(folder, OTHER, KEY)
    both.reach(end(30), 6)
    assert problems(both, end(30)) == []
    (told,) = problems(opened(folder, OTHER), end(30))
    assert "LOOPWRIGHT_CHECKPOINT_KEY" in told


def test_what_was_put_back_on_purpose_is_not_told(place: Checkpoints) -> None:
    for position in (5, 20, 30):
        place.reach(end(position), 5)
    given_up = place.not_held_by({position: chain(position) for position in range(11)})
    assert len(given_up) == 2
    place.put_back(end(11), given_up, 7, "the disk died")
    assert problems(place, end(12)) == []
    newest = place.newest()
    assert newest is not None
    assert newest.position == 11
    assert len(problems(place, end(9))) == 1, "what was put back counts itself"


def test_checkpoints_that_are_gone_are_told_where_events_are_many(place: Checkpoints, folder: Path) -> None:
    many = LogEnd(MISSING_EVENTS, chain(MISSING_EVENTS), MISSING_US)
    (told,) = problems(place, many)
    assert "no checkpoint at all" in told
    assert problems(place, many._replace(position=MISSING_EVENTS - 1)) == []
    assert problems(place, many._replace(recorded_at=MISSING_US - 1)) == []
    place.reach(end(40), 5)
    later = LogEnd(40 + MISSING_EVENTS, chain(40 + MISSING_EVENTS), 5 + MISSING_US)
    assert "no checkpoint after position 40" in problems(place, later)[0]


def test_it_is_signed_by_number_by_time_and_at_the_end(place: Checkpoints) -> None:
    pace = Pacemaker(place)
    assert not pace.keep_pace(None, 0)
    assert pace.keep_pace(end(1), 0)
    assert not pace.keep_pace(end(2), EVERY_US - 1)
    assert pace.keep_pace(end(2), EVERY_US)
    assert not pace.keep_pace(end(2), 9 * EVERY_US, is_last=True), "nothing happened since"
    assert not pace.keep_pace(end(1 + EVERY_EVENTS), EVERY_US)
    assert pace.keep_pace(end(2 + EVERY_EVENTS), EVERY_US)
    assert pace.keep_pace(end(3 + EVERY_EVENTS), EVERY_US, is_last=True)
    assert not pace.keep_pace(end(1), 99 * EVERY_US), "a log that was cut gets no new word"
    assert len(place.names()) == 4


def test_a_second_server_goes_on_where_the_first_was(place: Checkpoints, folder: Path) -> None:
    Pacemaker(place).keep_pace(end(10), 7)
    assert not Pacemaker(opened(folder, KEY)).keep_pace(end(10), 7)
    assert not Pacemaker(opened(folder, KEY)).keep_pace(end(11), 8)


def test_a_place_does_not_grow_for_ever(place: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    for position in range(1, MOST_KEPT + 2):
        place.reach(end(position), position)
    place.put_back(end(3), [], 3, "early")
    newest = place.names()[MOST_KEPT // 2 :]
    place.thin()
    kept = place.names()
    assert len(kept) <= MOST_KEPT * 3 // 4 + 2
    assert kept[-len(newest) :] == newest
    assert any(name.endswith(".put-back.json") for name in kept)
    assert place.thin() == 0
    assert problems(place, end(MOST_KEPT + 1)) == []


@pytest.mark.parametrize("text", ["", "\n", "short", "k" * 32 + "\nshort"])
def test_a_key_that_can_be_guessed_is_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_keys(text, "LOOPWRIGHT_CHECKPOINT_KEY")
