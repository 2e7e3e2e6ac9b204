"""What is told of a folder in which something could not be written leads to what is wrong with it."""

import errno
import os
from pathlib import Path

import pytest

from loopwright.kernel.errors import LoopwrightError, StorageFull, Unavailable
from loopwright.store.unwritable import tells_of_full_disk, unwritable, unwritable_state


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), True),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (RuntimeError("underlying IO error: No space left on device (os error 28)"), True),
        (RuntimeError("File too large (os error 27)"), False),
    ],
)
def test_a_library_may_quote_the_disk_that_is_full(error: Exception, is_full: bool) -> None:
    assert tells_of_full_disk(error) is is_full


@pytest.mark.parametrize("told", [unwritable, unwritable_state])
@pytest.mark.parametrize(
    ("number", "kind", "step"),
    [
        (errno.ENOSPC, StorageFull, "free space"),
        (errno.EDQUOT, StorageFull, "free space"),
        (errno.EROFS, Unavailable, "owner and permissions"),
        (errno.EACCES, Unavailable, "owner and permissions"),
    ],
)
def test_a_full_disk_asks_for_room_and_a_closed_folder_for_its_owner(
    told: object, number: int, kind: type[LoopwrightError], step: str
) -> None:
    assert callable(told)
    error = told(OSError(number, os.strerror(number)), Path("/srv/lw"))
    assert type(error) is kind
    assert step in str(error.next_step)
    assert "/srv/lw" in str(error.value)
