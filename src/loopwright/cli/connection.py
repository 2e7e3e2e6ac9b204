"""Finding the server and the project a command is about."""

from loopwright.client import HttpCaller, Remote, find_caller
from loopwright.governance import SYSTEM
from loopwright.kernel.errors import InvalidInput


def remote(project: str | None) -> Remote:
    """Return the project on the running server; the only one where none is named.

    Raises:
        InvalidInput: There are several projects, or none.
    """
    caller = find_caller()
    return Remote(project or _only_project(caller), caller)


def _only_project(caller: HttpCaller) -> str:
    names = [found.name for found in caller.call("projects.list", {}, SYSTEM)]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise InvalidInput("this server has no project yet", next_step="loopwright apply FILE creates one")
    raise InvalidInput("which project?", field="--project", rule=f"one of {', '.join(names)}")
