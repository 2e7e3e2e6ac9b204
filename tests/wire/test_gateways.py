"""What is asked of a gateway, and what is told where it is not there."""

import pytest

from loopwright.kernel.errors import Unavailable
from loopwright.store.types import EVERY_STREAM
from loopwright.wire.gateways import seal_gateway
from loopwright.wire.line import ServiceLine
from tests.servers import free_port


def test_a_job_learns_that_the_rows_of_a_killed_gateway_are_missing() -> None:
    line = ServiceLine()
    with pytest.raises(Unavailable, match="not sealed") as caught:
        seal_gateway(line, "lww_x", f"http://127.0.0.1:{free_port()}", EVERY_STREAM)
    line.close()
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
