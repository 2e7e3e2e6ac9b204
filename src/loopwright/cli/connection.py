"""Finding the server and the project a command is about."""

from typing import Any

from loopwright.client import HttpCaller, Remote, find_caller
from loopwright.governance import SYSTEM
from loopwright.kernel.errors import InvalidInput, LoopwrightError, NotFound
from loopwright.loop import is_scratch


def remote(project: str | None, *, answers_within_s: float | None = None) -> Remote:
    """Return the project on the running server; the only one where none is named, backtests left aside.

    Args:
        project: The project, where one was named.
        answers_within_s: How long the server may take to say that it lives; None for as long as a call may take.

    Raises:
        Unavailable: No server answers.
        InvalidInput: There are several projects, or none.
    """
    caller = find_caller()
    if answers_within_s is not None:
        caller.require_answer(answers_within_s)
    return Remote(project or _only_project(caller), caller)


def remote_with(project: str | None, verb: str, **args: Any) -> tuple[Remote, Any]:
    """Return the project that holds what an id names, and the answer of the query that finds it there.

    Ids are unique over all projects, so that nobody has to say which one an id is of.

    Args:
        project: The project, where one was named; else all that the caller may see are asked.
        verb: A query that raises NotFound where the id is of another project.
        args: Its arguments.

    Raises:
        NotFound: No project holds it.
    """
    caller = find_caller()
    names = [project] if project else [str(found.name) for found in caller.call("projects.list", {}, SYSTEM)]
    missing: LoopwrightError | None = None
    for name in names:
        try:
            return Remote(name, caller), caller.call(verb, args, name)
        except NotFound as error:
            missing = error
    raise missing or InvalidInput("this server has no project yet", next_step="loopwright apply FILE creates one")


def _only_project(caller: HttpCaller) -> str:
    names = [found.name for found in caller.call("projects.list", {}, SYSTEM) if not is_scratch(found)]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise InvalidInput("this server has no project yet", next_step="loopwright apply FILE creates one")
    raise InvalidInput("which project?", field="--project", rule=f"one of {', '.join(names)}")
