"""Jobs that read the prediction log back; the audit of real rows: tests/flows/test_loop.py."""

from pathlib import Path
from typing import Any

import pytest

from loopwright.kernel.errors import InvalidInput
from tests.loop.answering import answer
from tests.loop.conftest import Loop
from tests.loop.crashing import Worker


def test_the_audit_leaves_out_what_was_scored_in_a_batch(serving: Loop, tmp_path: Path) -> None:
    answer(serving, 1, variant="score")
    task = serving("loop.start_skew_audit", deployment="late")
    worker: Any = Worker(serving, tmp_path)
    found: Any = worker.do(task)
    assert found["rows"] == 0
    answer(serving, 2)
    with pytest.raises(InvalidInput, match="looks no features up"):
        worker.do(task)
