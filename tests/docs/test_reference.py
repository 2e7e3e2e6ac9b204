"""The reference that is kept is the one that would be written."""

from pathlib import Path

import pytest

from loopwright.kernel.events import EVENT_TYPES
from tests.docs.pages import DOCS
from tools import write_reference
from tools.reference_events import event_types

SOURCES = Path(__file__).parents[2] / "src/loopwright"
WRITTEN = write_reference.pages()


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_page_is_up_to_date(name: str) -> None:
    kept = (DOCS / "reference" / name).read_text("utf-8")
    assert kept == WRITTEN[name], "run `make docs`"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in (DOCS / "reference").glob("*")} == set(WRITTEN)


def test_every_declared_event_is_emitted_and_says_what_happened() -> None:
    described = [event for event in event_types(SOURCES) if event.meaning]
    assert described
    assert [event.name for event in described if not event.files] == []
    assert [name for name, kind in EVENT_TYPES.items() if not kind.__doc__] == []
