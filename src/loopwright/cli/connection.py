"""Finding the server and the project a command is about."""

import re

from loopwright.client import HttpCaller, Remote, find_caller
from loopwright.governance import SYSTEM
from loopwright.kernel.errors import InvalidInput

_SCRATCH = re.compile(r"-backtest-\d+$")


def scratch_name(project: str, at_us: int) -> str:
    """Return the name of a project that a backtest makes for itself."""
    return f"{project}-backtest-{at_us // 1_000_000}"


def remote(project: str | None) -> Remote:
    """Return the project on the running server; the only one where none is named, backtests left aside.

    Raises:
        InvalidInput: There are several projects, or none.
    """
    caller = find_caller()
    return Remote(project or _only_project(caller), caller)


def _only_project(caller: HttpCaller) -> str:
    names = [found.name for found in caller.call("projects.list", {}, SYSTEM) if not _SCRATCH.search(found.name)]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise InvalidInput("this server has no project yet", next_step="loopwright apply FILE creates one")
    raise InvalidInput("which project?", field="--project", rule=f"one of {', '.join(names)}")
