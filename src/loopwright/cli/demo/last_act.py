"""The last act: planted faults, outside the year's figures. Each tells seconds to notice and to recover, and what was lost."""

from pathlib import Path
from typing import Any

from loopwright.cli.demo.setup import Stage


def last_act(stage: Stage) -> list[dict[str, Any]]:
    """Plant every fault in turn; returns name, noticed_s, recovered_s and lost of each."""
    return []


def break_one(state: Path, name: str) -> None:
    """Plant one fault in a demo that is running on a state folder."""
