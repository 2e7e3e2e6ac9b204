"""What is watched of a deployment, and the window that has not ended."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import NotFound
from loopwright.monitoring import CurrentWindow, Monitor, MonitorSpec
from tests.monitoring.conftest import Log, Worker, make_traffic


def test_the_window_that_runs_says_when_it_ends_and_what_it_holds(
    served: Callable[..., Monitor], worker: Worker, log: Log, call: Callable[..., Any]
) -> None:
    served(MonitorSpec(DAY_US, grace_us=HOUR_US))
    assert call("monitoring.current_window", deployment="late") is None
    begin = worker.wall.at_us
    worker.call("monitoring.open_windows", {"deployment": "late", "start_at": begin}, "flights")
    log.predict(begin - DAY_US, make_traffic(5, np.random.default_rng(1)))
    log.predict(begin, make_traffic(20, np.random.default_rng(2)), length=HOUR_US)
    worker.wall.at_us = begin + 2 * HOUR_US
    expected = CurrentWindow(begin, begin + DAY_US, begin + DAY_US + HOUR_US, 20)
    assert call("monitoring.current_window", deployment="late") == expected
    log.predict(begin + 2 * HOUR_US, make_traffic(3, np.random.default_rng(3)), length=HOUR_US)
    assert call("monitoring.current_window", deployment="late").rows == 23
    worker.wall.at_us = begin + DAY_US + 1
    assert call("monitoring.current_window", deployment="late").start_at == begin + DAY_US
    assert call("monitoring.current_window", deployment="late").rows == 0
    with pytest.raises(NotFound, match="nothing watches"):
        call("monitoring.current_window", deployment="none")
