"""State changes follow their table."""

import pytest

from loopwright.kernel.errors import Conflict
from loopwright.kernel.states import check_change
from loopwright.store.types import JOB_STATES


@pytest.mark.parametrize("before", JOB_STATES)
@pytest.mark.parametrize("after", JOB_STATES)
def test_only_what_the_table_says(before: str, after: str) -> None:
    if after in JOB_STATES[before]:
        assert check_change("job", JOB_STATES, before, after) == after
    else:
        with pytest.raises(Conflict, match=f"{before} cannot become {after}"):
            check_change("job", JOB_STATES, before, after)


def test_the_kind_is_named_as_one_says_it() -> None:
    with pytest.raises(Conflict, match="an execution that is lost"):
        check_change("execution", {}, "lost", "done")


def test_an_unknown_state_leads_nowhere() -> None:
    with pytest.raises(Conflict, match="this state is final"):
        check_change("job", JOB_STATES, "lost", "done")
