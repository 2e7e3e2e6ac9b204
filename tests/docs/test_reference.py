"""The reference that is kept is the one that would be written."""

import inspect
from pathlib import Path

import pytest

import loopwright as lw
from loopwright.kernel.events import EVENT_TYPES
from tests.docs.pages import DOCS
from tools import write_reference
from tools.reference_events import event_types

SOURCES = Path(__file__).parents[2] / "src/loopwright"
KEPT = {path.name: path for path in (DOCS / "reference").glob("*")}


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return write_reference.pages()


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_page_is_up_to_date(written: dict[str, str], name: str) -> None:
    assert KEPT[name].read_text("utf-8") == written[name], "run `make docs`"


def test_no_page_is_missing(written: dict[str, str]) -> None:
    assert set(KEPT) == set(written)


def test_every_argument_of_a_monitor_is_explained(written: dict[str, str]) -> None:
    explained = written["sdk.md"].partition("### `lw.Monitor(")[2].partition("###")[0]
    named = inspect.signature(lw.Monitor).parameters
    assert len(named) > 15
    assert [name for name in named if f"\n| `{name}` | " not in explained] == []


def test_every_declared_event_is_emitted_and_says_what_happened() -> None:
    described = [event for event in event_types(SOURCES) if event.meaning]
    assert described
    assert [event.name for event in described if not event.files] == []
    assert [name for name, kind in EVENT_TYPES.items() if not kind.__doc__] == []
