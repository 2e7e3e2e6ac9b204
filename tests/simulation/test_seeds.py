"""Two hundred histories of the platform, each with its own faults: whatever befalls it, it keeps what it promised."""

import subprocess
import sys

import pytest

from tests.simulation.seeds import play_seed

SEEDS, AT_ONCE = 200, 25


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_the_platform_keeps_its_promises(first: int) -> None:
    broken = [history.told() for seed in range(first, first + AT_ONCE) if (history := play_seed(seed)).broken]
    assert not broken, "\n\n".join(broken)


@pytest.mark.slow
def test_a_seed_is_one_history_to_the_line() -> None:
    """In one process twice, and in another one in which sets have another order."""
    first, again = play_seed(3), play_seed(3)
    assert first.lines == again.lines
    assert len(first.lines) > 20
    elsewhere = subprocess.run(
        [sys.executable, "-m", "tests.simulation.seeds", "--seed", "3"],
        env={"PYTHONHASHSEED": "7", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout.splitlines()[: len(first.lines)] == first.lines
    assert play_seed(4).lines != first.lines
