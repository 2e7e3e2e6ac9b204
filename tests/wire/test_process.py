"""What the platform's processes have alike: a log that only they write."""

import io
import logging

from loopwright.wire.process import PlainFormatter


def test_a_line_of_the_log_is_one_whatever_it_tells() -> None:
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    handler.setFormatter(PlainFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("tests")
    log.addHandler(handler)
    log.warning("drift on %s", "late\n2026-01-01 CRITICAL forged\x1b[2J")
    try:
        raise ValueError("no\x1b[2J rows")
    except ValueError:
        log.exception("failed")
    first, second, *trace = told.getvalue().splitlines()
    assert first == r"WARNING drift on late\n2026-01-01 CRITICAL forged\x1b[2J"
    assert second == "ERROR failed"
    assert trace[0].startswith("Traceback")
    assert trace[-1] == r"ValueError: no\x1b[2J rows"
