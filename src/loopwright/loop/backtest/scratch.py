"""Scratch projects: a backtest makes one for itself and its job is let in; ``housekeeping/ending.py`` ends them."""

import re
from dataclasses import replace

from loopwright.governance import Project, projects, tokens
from loopwright.kernel.clock import MINUTE_US, FixedClock
from loopwright.loop.types import ProjectSpec
from loopwright.store.tx import Tx

_SCRATCH = re.compile(r"-backtest-(\d+)$")
_LONGEST_HEAD = 100
"""Letters of the project's own name that its scratch projects begin with: names have a longest length."""


def is_scratch(project: Project) -> bool:
    """Say whether a project is one that a backtest made for itself.

    Such a one has a clock to replay and the moment at which it was made in its name; what people call theirs is theirs.
    """
    named = _SCRATCH.search(project.name)
    made_at = 0 if named is None else int(named[1])
    return project.clock == "replay" and abs(project.created_at - made_at) < MINUTE_US


def open_scratch(tx: Tx, spec: ProjectSpec, start_at: int, token_digest: str) -> str:
    """Create a project with a replay clock, and let the job into it that holds a token; return its name.

    Args:
        tx: In the project whose history is played.
        spec: Says whose it is, and its risk.
        start_at: Where the clock starts, microseconds UTC.
        token_digest: SHA-256 of the job's token, which opens the new project as an editor's would.
    """
    name = f"{tx.project[:_LONGEST_HEAD]}-backtest-{tx.wall_us}"
    inside = replace(tx, project=name, clock=FixedClock(start_at))
    projects.create(inside, name=name, owner=spec.owner, risk=spec.risk, clock="replay", clock_at=start_at)
    tokens.lend(inside, token_digest)
    return name
