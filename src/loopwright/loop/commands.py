"""Existing scripts as pipelines: what a declared command reads, runs and makes. Its one step is ``loop.command``."""

import shlex
import string
from typing import Any

import msgspec

from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import add_built_in
from loopwright.kernel.refs import check_name
from loopwright.pipelines import PipelineSpec, StepSpec
from loopwright.registry import Task

add_built_in("step_kinds", {"loop.command": "loopwright.loop.commanding:run_command"})


class ModelOutput(msgspec.Struct, frozen=True):
    """A model file that a command writes, and what it is registered as.

    ``flavour`` empty: guessed from the file's ending. ``features`` are the columns it reads, in order; None takes what
    the file tells, else every column of the rows but key, times and ``label``. ``classes`` in output order.
    """

    model: str
    file: str
    task: Task
    flavour: str = ""
    label: str = ""
    features: list[str] | None = None
    classes: list[str] = []


class CommandSpec(msgspec.Struct, frozen=True):
    """A command line whose ``{name}`` stand for files of inputs and outputs, and for params.

    ``inputs`` maps names to datasets. ``environment`` is the lock file's path in the project and its digest.
    """

    name: str
    words: list[str]
    inputs: dict[str, str]
    outputs: dict[str, ModelOutput]
    code_digest: str = ""
    environment: tuple[str, str] | None = None


def read_words(command: str, names: set[str], must: set[str]) -> list[str]:
    """Return the words of a command line as a shell would read them; no shell ever runs it.

    Args:
        command: Words with ``{name}`` where a file or a param belongs.
        names: Those that may stand there.
        must: Those that have to.

    Raises:
        InvalidInput: It cannot be read, or names something else.

    >>> read_words("python fit.py --rows {rows} '--note=a b'", {"rows"}, {"rows"})
    ['python', 'fit.py', '--rows', '{rows}', '--note=a b']
    """
    try:
        words = shlex.split(command)
        found = {name for word in words for _, name, _, _ in string.Formatter().parse(word) if name is not None}
    except ValueError as error:
        raise InvalidInput("this command cannot be read", field="command", value=command, rule=str(error)) from None
    if not words:
        raise InvalidInput("the command is empty", field="command", rule='such as "python train.py --data {data}"')
    if unknown := sorted(found - names):
        rule = f"one of {', '.join(sorted(names))}"
        raise InvalidInput(f"nothing is named {unknown[0]}", field="command", value=f"{{{unknown[0]}}}", rule=rule)
    if absent := sorted(must - found):
        raise InvalidInput(f"the command never names {{{absent[0]}}}", field="command", value=command)
    return words


def command_pipeline(
    spec: CommandSpec, params: dict[str, Any], *, timeout_s: float, schedule_us: int | None
) -> PipelineSpec:
    """Return the pipeline of a command: one step, never cached, for its rows are the newest ones."""
    step = StepSpec(
        name=check_name(spec.name, "command"),
        kind="loop.command",
        inputs={"command": {"value": to_builtins(spec)}, **{name: {"param": name} for name in params}},
        timeout_s=timeout_s,
        is_cached=False,
    )
    return PipelineSpec(spec.name, [step], params, schedule_us)
