"""What a model answers: the tasks there are, and the names of classes."""

import re
from typing import Any, Literal, get_args

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import nearest

Task = Literal["binary", "multiclass", "regression", "ranking", "forecast", "other"]

_WHOLE = re.compile(r"(-?[0-9]+)\.0+")


def class_name(value: Any) -> str:
    """Return a class as text: a whole number without a point, whatever held it on its way.

    A column of classes 1, 2, 3 is one of floats as soon as a library knows one kind of number alone.

    >>> class_name(3), class_name(3.0), class_name("3.0"), class_name("v3.0"), class_name(2.5)
    ('3', '3', '3', 'v3.0', '2.5')
    """
    text = str(value)
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


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
