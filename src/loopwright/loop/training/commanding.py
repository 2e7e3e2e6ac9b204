"""The step ``loop.command``: rows to a file, the command in a child process, what it made into the registry."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopwright import data, registry, tracking
from loopwright.data import DatasetVersion, read
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import Corrupt, InvalidInput, LoopwrightError, NotFound, StepFailed
from loopwright.kernel.removing import remove
from loopwright.kernel.storable import storable_text
from loopwright.loop.apply import current_spec
from loopwright.loop.training import recording
from loopwright.loop.training.commands import CommandSpec, ModelOutput, fill_word
from loopwright.pipelines import StepContext, open_inside, packing
from loopwright.registry import SavedModel, artifacts
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import keep_blobs
from loopwright.store.types import BlobRef
from loopwright.tracking import Run
from loopwright.wire.endings import how_ended

Document = dict[str, Any]
Versions = dict[str, DatasetVersion]
_PYTHON = {"python", "python3"}
_MOST_LETTERS_OF_TAG = 5000
"""Of the command: a run that is begun after it ran must not be refused over its length."""


def run_command(context: StepContext, inputs: Document) -> Document:
    """Run a declared command on the newest versions of its datasets and register the models it writes."""
    params = {name: value for name, value in inputs.items() if name != "command"}
    spec = convert(inputs["command"], CommandSpec)
    registered = _registered(context, spec)
    if spec.outputs and len(registered) == len(spec.outputs):  # it was killed after its work
        recording.finish(context, _run(context, spec, params, {}), {})
        return registered
    folder = Path(tempfile.mkdtemp()).absolute()
    try:
        versions = _write_rows(context, spec, folder)
        code = _unpack(context, spec, folder)
        lock = _store_lock(context, spec, code)
        context.progress(" ".join(spec.words))
        asked = {
            "words": _fill(spec, params, folder),
            "code": str(code),
            "folder": str(folder),
            "outputs": to_builtins(spec.outputs),
            "known": {name: _reserved(versions) for name in spec.outputs},
            "rows": str(folder / f"{next(iter(spec.inputs))}.parquet") if spec.inputs else "",
        }
        made = context.child("loopwright.loop.training.commanding:run_and_inspect", asked, folder=folder)
        run = _run(context, spec, params, versions)
        if lock is not None and run.state == "running":
            path, blob = lock
            context.call(
                tracking.log_artifact, run_id=run.run_id, path=path, digest=blob.digest, size_bytes=blob.size_bytes
            )
        return _register(context, spec, run, made, folder)
    finally:
        remove(folder)


def _write_rows(context: StepContext, spec: CommandSpec, folder: Path) -> Versions:
    found = {}
    for name, dataset in spec.inputs.items():
        found[name] = context.call(data.versions.get_version, dataset=dataset)
        read.scan(found[name], context.blobs).sink_parquet(folder / f"{name}.parquet", compression="zstd")
    return found


def _unpack(context: StepContext, spec: CommandSpec, folder: Path) -> Path:
    """Return a fresh copy of the project's code: a script may write beside itself."""
    if not spec.code_digest:
        (folder / "code").mkdir()
        return folder / "code"
    return packing.unpack(context.blobs.get(spec.code_digest), folder / "code")


def _fill(spec: CommandSpec, params: Document, folder: Path) -> list[str]:
    places: Document = {name: folder / f"{name}.parquet" for name in spec.inputs}
    places |= {name: folder / "out" / output.file for name, output in spec.outputs.items()}
    words = [fill_word(word, {**params, **places}) for word in spec.words]
    # The platform's own interpreter, so that the script finds what is installed with it.
    return [sys.executable if words[0] in _PYTHON else words[0], *words[1:]]


def _reserved(versions: Versions) -> list[str]:
    """Return the columns that are no features: keys, times and moments of knowing."""
    specs = [version.spec for version in versions.values() if version.spec is not None]
    names = [name for spec in specs for name in (*spec.key, spec.time or "")]
    return names + [known.column for spec in specs for known in spec.known_at.values()]


def run_and_inspect(
    words: list[str], code: str, folder: str, outputs: Document, known: dict[str, list[str]], rows: str
) -> Document:
    """Run the command and look at each file it should have made; called in a child process, whose end ends it too.

    Args:
        words: The command.
        code: Its working folder.
        folder: Where ``out/`` is; the files of each model go to ``models/<output>``.
        outputs: Documents of ``ModelOutput`` by name.
        known: Columns of the rows that are no features, by output.
        rows: The Parquet file of the first input.

    Returns:
        A document of ``SavedModel`` by output.

    Raises:
        StepFailed: The command cannot be started, or fails.
        InvalidInput: A file is missing, or is no such model.
    """
    for output in outputs.values():
        (Path(folder) / "out" / output["file"]).parent.mkdir(parents=True, exist_ok=True)
    print("$", *words, flush=True)  # noqa: T201 - the first line of the step's log
    try:
        status = subprocess.run(words, cwd=code, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise StepFailed(f"{words[0]} cannot be started: {error.strerror}", field="command", value=words[0]) from None
    if status:
        raise StepFailed(f"the command {how_ended(status)}", value=" ".join(words), next_step="its log says why")
    found = {}
    for name, document in outputs.items():
        output = convert(document, ModelOutput)
        file = Path(folder) / "out" / output.file
        if not file.is_file():
            rule = f"the command writes a file to {{{name}}}"
            raise InvalidInput(f"the command made no {output.file}", field=f"outputs.{name}", rule=rule)
        found[name] = to_builtins(_inspect(file, Path(folder) / "models" / name, output, known[name], rows))
    return found


def _inspect(file: Path, out_dir: Path, output: ModelOutput, reserved: list[str], rows: str) -> SavedModel:
    """Take the model over, with the columns of the rows it was fitted on."""
    frame = pl.read_parquet(rows) if rows else pl.DataFrame()
    names = output.features or _told_names(file, out_dir, output)
    if not names or not set(names) <= set(frame.columns):
        names = [name for name in frame.columns if name not in (*reserved, output.label)]
    if absent := [name for name in output.features or [] if name not in frame.columns]:
        raise InvalidInput("the rows have no such column", field=f"{output.model}.features", value=absent[0])
    columns = artifacts.columns_of(frame.select(names)) if names else []
    shutil.rmtree(out_dir, ignore_errors=True)
    saved = artifacts.inspect_file(file, out_dir, output.task, columns, output.flavour)
    if not output.classes:
        return saved
    signature = msgspec.structs.replace(saved.signature, classes=output.classes)
    digest = registry.model_digest(saved.flavour, saved.files, signature)
    return msgspec.structs.replace(saved, signature=signature, digest=digest)


def _told_names(file: Path, out_dir: Path, output: ModelOutput) -> list[str]:
    try:
        told = artifacts.inspect_file(file, out_dir, output.task, (), output.flavour)
    except LoopwrightError:
        return []  # it is asked again with the columns of the rows, and says then what is wrong
    return [input_column.name for input_column in told.signature.inputs]


def _register(context: StepContext, spec: CommandSpec, run: Run, made: Document, folder: Path) -> Document:
    """Register what the command made, but for what it had registered before a crash."""
    registered = _registered(context, spec)
    for name in spec.outputs:
        if name in registered:
            continue
        saved = convert(made.get(name), SavedModel, f"outputs.{name}")
        _store_files(context.blobs, folder, f"models/{name}", saved)
        context.call(keep_blobs, blobs=[BlobRef(file.digest, file.size_bytes) for file in saved.files])
        version = context.call(
            registry.register,
            model=spec.outputs[name].model,
            flavour=saved.flavour,
            files=saved.files,
            signature=saved.signature,
            run=f"{context.project}/run:{run.run_id}",
            code_digest=spec.code_digest,
            idempotency=_token(context, name),
        )
        registered[name] = {"model": version.model, "version": version.version}
    recording.finish(context, run, {})
    return registered


def _store_files(blobs: BlobStore, folder: Path, inside: str, saved: SavedModel) -> None:
    """Put the files of a model into the blob store, from a folder that a command could write to.

    Which files those are is the command's word too: a name alone, or a link, opens nothing.

    Raises:
        Corrupt: A file does not lie there, a link leads to it, or it is not the one that was saved.
    """
    registry.check_files(saved.files)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for file in saved.files:
            with open_inside(handle, f"{inside}/{file.path}", file.path) as opened:
                stored = blobs.put_file(opened)
            if stored.digest != file.digest:
                raise Corrupt("a model file changed after it was saved", field=file.path, value=file.digest)
    finally:
        os.close(handle)


def _token(context: StepContext, output: str) -> str:
    return f"{context.execution.execution_id}/{output}"


def _registered(context: StepContext, spec: CommandSpec) -> Document:
    """Return the versions that this execution has registered, by output."""
    found = {}
    for name, output in spec.outputs.items():
        with contextlib.suppress(NotFound):
            version = context.call(registry.get_version, model=output.model, idempotency=_token(context, name))
            found[name] = {"model": version.model, "version": version.version}
    return found


def _run(context: StepContext, spec: CommandSpec, params: Document, versions: Versions) -> Run:
    tags = {"command": storable_text(" ".join(spec.words), _MOST_LETTERS_OF_TAG)}
    if spec.environment is not None:
        tags |= {"environment_file": spec.environment[0], "environment_digest": spec.environment[1]}
    inputs = [
        f"{context.project}/dataset:{dataset_version.dataset}/{dataset_version.version}"
        for dataset_version in versions.values()
    ]
    source = context.call(current_spec).source
    return recording.run_of(context, spec.name, params=params, tags=tags, inputs=inputs, source=source)


def _store_lock(context: StepContext, spec: CommandSpec, code: Path) -> tuple[str, BlobRef] | None:
    """Store the lock file itself, to be kept with the run, where it travelled with the code.

    Before the command runs: afterwards the name may be a link to anything that the worker can read.
    """
    if spec.environment is None or not (code / spec.environment[0]).is_file():
        return None
    return spec.environment[0], context.blobs.put_file(code / spec.environment[0])
