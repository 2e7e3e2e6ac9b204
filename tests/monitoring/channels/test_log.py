"""The log as a channel."""

import pytest

from loopwright.monitoring.channels import Notice
from loopwright.monitoring.channels.log import send


def test_it_writes_one_line(notice: Notice, caplog: pytest.LogCaptureFixture) -> None:
    send("", notice, frozenset())
    assert caplog.messages == ["warning drift opened on flights/deployment:late: 3 drift"]
