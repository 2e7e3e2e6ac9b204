"""What a model answers: the tasks there are."""

from typing import Literal, get_args

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import nearest

Task = Literal["binary", "multiclass", "regression", "ranking", "forecast", "other"]


def check_task(task: str, field: str = "task") -> None:
    """Refuse a task that nothing measures, such as a misspelt one.

    Raises:
        InvalidInput: It is none.
    """
    known = get_args(Task)
    if task not in known:
        near = nearest(task, known)
        rule, next_step = f"one of {', '.join(known)}", f"did you mean {near}?" if near else None
        raise InvalidInput("there is no such task", field=field, value=task, rule=rule, next_step=next_step)
