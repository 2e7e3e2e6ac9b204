"""Existing scripts as pipelines: what a declared command reads, runs and makes. Its one step is ``loop.command``."""

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from loopwright.kernel.bounds import check_count, first_repeated
from loopwright.kernel.digests import Digest, MaybeDigest
from loopwright.kernel.documents import convert, digest_of, to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import add_built_in
from loopwright.kernel.refs import check_name
from loopwright.pipelines import PipelineSpec, StepSpec
from loopwright.registry import Task

COMMAND = "loop.command"
add_built_in("step_kinds", {COMMAND: "loopwright.loop.training.commanding:run_command"})

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
"""What braces may say: ``{{`` and ``}}`` are braces, ``{name}`` a place; nothing else. No attributes, no formats."""


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
    code_digest: MaybeDigest = ""
    environment: tuple[str, Digest] | None = None


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
    except ValueError as error:
        raise InvalidInput("this command cannot be read", field="command", value=command, rule=str(error)) from None
    check_words(words, names, must)
    return words


def check_words(words: list[str], names: set[str], must: set[str]) -> None:
    """Refuse words that name what they may not, or not what they must.

    Raises:
        InvalidInput: Says which.
    """
    if not words:
        raise InvalidInput("the command is empty", field="command", rule='such as "python train.py --data {data}"')
    places = {place for word in words for place in _places(word)}
    if unknown := sorted(places - names):
        rule = f"one of {', '.join(sorted(names))}"
        raise InvalidInput(f"nothing is named {unknown[0]}", field="command", value=f"{{{unknown[0]}}}", rule=rule)
    if absent := sorted(must - places):
        raise InvalidInput(f"the command never names {{{absent[0]}}}", field="command", value=" ".join(words))


def fill_word(word: str, values: Mapping[str, Any]) -> str:
    """Return a word with each ``{name}`` replaced by its value; a value is never read again.

    >>> fill_word("--rows={rows} {{as is}}", {"rows": "{rows.__class__}"})
    '--rows={rows.__class__} {as is}'
    """
    _places(word)
    return _PLACE.sub(lambda place: place[0][0] if place[1] is None else str(values[place[1]]), word)


def _places(word: str) -> list[str]:
    """Return the names in braces."""
    for place in _PLACE.finditer(word):
        if place[0] in ("{", "}"):
            rule = "{name} for a file or a param, {{ and }} for braces"
            raise InvalidInput(
                "this command cannot be read: a brace stands alone", field="command", value=word, rule=rule
            )
    return [place[1] for place in _PLACE.finditer(word) if place[1] is not None]


def command_pipeline(
    spec: CommandSpec, params: dict[str, Any], *, timeout_s: float, schedule_us: int | None
) -> PipelineSpec:
    """Return the pipeline of a command: one step, never cached, for its rows are the newest ones."""
    step = StepSpec(
        name=check_name(spec.name, "command"),
        kind=COMMAND,
        inputs={"command": {"value": to_builtins(spec)}, **{name: {"param": name} for name in params}},
        timeout_s=timeout_s,
        is_cached=False,
    )
    return PipelineSpec(spec.name, [step], params, schedule_us)


def is_command(pipeline: PipelineSpec) -> bool:
    """Say whether a pipeline has the step of a command."""
    return any(step.kind == COMMAND for step in pipeline.steps)


def command_spec(pipeline: PipelineSpec) -> CommandSpec:
    """Return the command of a pipeline that has one."""
    step = next(step_spec for step_spec in pipeline.steps if step_spec.kind == COMMAND)
    return convert(step.inputs.get("command", {}).get("value"), CommandSpec, f"pipelines.{pipeline.name}.command")


def check_command(pipeline: PipelineSpec) -> None:
    """Refuse a pipeline with the step ``loop.command`` that ``command_pipeline`` would not have made.

    The definition travels from a client, so the server makes it again from its parts and compares.

    Raises:
        InvalidInput: The command, or the pipeline around it, breaks a rule.
        StopIteration: It has no such step.
    """
    field = f"pipelines.{pipeline.name}"
    step = next(step_spec for step_spec in pipeline.steps if step_spec.kind == COMMAND)
    spec = command_spec(pipeline)
    for name in (*spec.inputs, *spec.outputs):
        check_name(name, f"{field}.command")
    names = [*spec.inputs, *spec.outputs, *pipeline.params]
    check_count(names, f"{field}.command")
    if repeated := first_repeated(names):
        raise InvalidInput("this name is used twice", field=f"{field}.command", value=repeated)
    check_words(spec.words, {*names}, {*spec.outputs})
    for name, output in spec.outputs.items():
        _check_inside(output.file, f"{field}.outputs.{name}.file")
    if spec.environment is not None:
        _check_inside(spec.environment[0], f"{field}.environment")
    made = command_pipeline(spec, pipeline.params, timeout_s=step.timeout_s, schedule_us=pipeline.schedule_us)
    if digest_of(pipeline) != digest_of(made):  # as it travels: a pair is a list there
        rule = "one step, as p.command(...) declares it"
        raise InvalidInput("this is not the pipeline of a command", field=f"{field}.steps", rule=rule)


def _check_inside(path: str, field: str) -> None:
    """Refuse a path that leads out of the folder it is taken in."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise InvalidInput("this path leads out of its folder", field=field, value=path, rule="relative, without ..")
