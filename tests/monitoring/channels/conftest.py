"""A notice to send."""

import pytest

from loopwright.monitoring.channels import Notice
from loopwright.monitoring.types import Incident


@pytest.fixture
def notice() -> Notice:
    """An incident that was opened."""
    incident = Incident("inc_1", "flights/deployment:late", "drift", "3 drift", "warning", "open", True, 1, "", 0, 0)
    return Notice("flights", "opened", incident)
