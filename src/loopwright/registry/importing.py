"""``import model``: a file trained elsewhere becomes a version. Runs at the client; the server never opens the file."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from loopwright import features
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import verb_of
from loopwright.registry.artifacts import inspect_file
from loopwright.registry.types import InputColumn, ModelVersion, Task
from loopwright.registry.versions import import_model as import_version

P = ParamSpec("P")
R = TypeVar("R")


class Caller(Protocol):
    """What an import needs of a client, which has its own way to a verb of a name."""

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        """Call a verb."""
        ...

    def put_blob(self, project: str, body: bytes) -> Any:
        """Upload bytes."""
        ...


def import_model(
    caller: Caller,
    project: str,
    *,
    model: str,
    file: Path,
    task: Task,
    columns: Sequence[InputColumn] = (),
    flavour: str = "",
    service: str = "",
    reason: str = "",
) -> ModelVersion:
    """Register a model file as the next version of a model; the same file again is once.

    Args:
        caller: Client of the server.
        project: The project's name.
        model: The model's name.
        file: A LightGBM text model (``.txt``), a skops file (``.skops``) or an ONNX graph (``.onnx``).
        task: What it answers.
        columns: Its columns in order, where the file does not tell them.
        flavour: The plugin; guessed from the file's ending where empty.
        service: The feature service whose columns it reads; empty if requests carry them.
        reason: Where the model comes from; the file's name where empty.

    Raises:
        InvalidInput: The file is missing or no model of that flavour, or its library is not installed.
    """
    if not file.is_file():
        raise InvalidInput("there is no such file", field="file", value=str(file))
    with tempfile.TemporaryDirectory(prefix="loopwright-import-") as name:
        saved = inspect_file(file, Path(name), task, columns, flavour)
        for part in saved.files:
            caller.put_blob(project, (Path(name) / part.path).read_bytes())
    return _call(
        caller,
        project,
        import_version,
        model=model,
        flavour=saved.flavour,
        files=saved.files,
        signature=saved.signature,
        service=service,
        plan_digest=_call(caller, project, features.freeze_plan, service=service) if service else "",
        reason=reason or f"imported from the file {file.name}",
        # The same file again is the version it became, whoever sends it.
        idempotency=f"import-{saved.digest}",
    )


def _call(
    caller: Caller, project: str, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call a verb, given as its function, through a client that takes names."""
    answer: R = caller.call(verb_of(function).name, to_builtins(kwargs), project)
    return answer
