"""The reference that is kept is the one that would be written."""

import pytest

from tests.docs.pages import DOCS
from tools import write_reference

WRITTEN = write_reference.pages()


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_page_is_up_to_date(name: str) -> None:
    kept = (DOCS / "reference" / name).read_text("utf-8")
    assert kept == WRITTEN[name], "run `make docs`"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in (DOCS / "reference").glob("*")} == set(WRITTEN)
