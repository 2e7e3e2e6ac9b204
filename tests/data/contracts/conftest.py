"""Files of other libraries as those wrote them, and what is read of them."""

from pathlib import Path

from loopwright.data.check_code import check_code
from loopwright.data.contracts import Translation, read_contract

FILES = Path(__file__).parent / "files"


def read_one(body: bytes | str) -> Translation:
    """What a contract of one table says."""
    [found] = read_contract(body.encode() if isinstance(body, str) else body)
    return found


def codes(found: Translation) -> list[str]:
    return [check_code(taken.check).removeprefix("lw.check.") for taken in found.checks]


def left_out(found: Translation) -> dict[str, str]:
    return {one.what: one.why for one in found.left_out}
