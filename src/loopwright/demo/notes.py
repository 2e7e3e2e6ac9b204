"""What a demo remembers between two runs: how far the year has been played, and what was planted after it."""

from pathlib import Path
from typing import Any

import msgspec

from loopwright.demo.setup import START_AT
from loopwright.kernel.clock import format_moment
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import Conflict, InvalidInput

_FILE = "replay.json"


class Notes(msgspec.Struct):
    """Where the replay stands, in microseconds UTC: all flights before ``played_until`` have been asked about.

    ``ends_at`` is where the run that plays, or played last, ends; ``replay`` is what the driver needs to go on, and
    ``planted`` holds the results of the last act, None before it begins.
    """

    played_until: int = START_AT
    ends_at: int = START_AT
    replay: dict[str, Any] | None = None
    is_settled: bool = False
    planted: list[dict[str, Any]] | None = None

    def save(self, state: Path) -> None:
        """Write the notes into the state folder, whole or not at all."""
        draft = state / f"{_FILE}.draft"
        draft.write_bytes(to_json(self))
        draft.replace(state / _FILE)


def load_notes(state: Path) -> Notes:
    """Return the notes of an earlier run, or those of a demo that begins.

    Raises:
        InvalidInput: They are not a demo's notes.
    """
    path = state / _FILE
    if not path.exists():
        return Notes()
    try:
        return from_json(path.read_bytes(), Notes, _FILE)
    except InvalidInput as error:
        error.next_step = "start over: loopwright demo --reset"
        raise


def refuse_if_over(notes: Notes, end_at: int) -> None:
    """Refuse to play on after a last act: its faults moved the clock and would mix with the year.

    Raises:
        Conflict: The last act was played, and flights before ``end_at`` were not.
    """
    if notes.planted is not None and notes.played_until < end_at:
        raise Conflict(
            f"this demo has played its last act, after the flights until {format_moment(notes.played_until)[:10]}",
            field="--days",
            rule="what was planted would mix with the year, so a demo cannot go on after its last act",
            next_step="start over: add --reset to the same options",
        )
