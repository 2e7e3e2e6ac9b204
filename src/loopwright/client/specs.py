"""From declarations to the one document that ``apply`` sends, and the packed code it names."""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loopwright.client.columns import check_columns, find_schema
from loopwright.client.handles import Command, Dataset, Deployment, RequestFeatures, Service, View
from loopwright.client.personal import personal_columns, without_personal
from loopwright.client.tracing import trace_pipeline
from loopwright.data import DatasetSpec
from loopwright.features import LabelSpec, RequestSpec, ServiceSpec
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import suggest
from loopwright.loop import ProjectSpec, commands
from loopwright.pipelines import PipelineSpec, packing
from loopwright.serving import DeploymentSpec
from loopwright.tracking import read_source_state

ToCode = Callable[[Callable[..., Any]], CodeRef]


def build_spec(
    head: ProjectSpec, declared: Mapping[str, Any], folder: Path, files: Sequence[str] = ()
) -> tuple[ProjectSpec, bytes]:
    """Return the project's spec and the bytes of its packed code.

    Raises:
        InvalidInput: A function cannot be named, or the folder is too large to pack.
    """
    of_kind = _by_kind(declared)
    functions = _functions(of_kind)
    commanded = [word for one in of_kind.get("command", []) for word in _files_of(one, folder)]
    digests = packing.declared_files(folder, files)
    packed = packing.pack_project(folder, functions, [*files, *commanded]) if functions or "command" in of_kind else b""
    code_digest = digest_bytes(packed) if packed else ""

    def to_code(function: Callable[..., Any]) -> CodeRef:
        return packing.code_ref(function, folder, code_digest, digests)

    datasets: list[Dataset] = of_kind.get("dataset", [])
    deployments: list[Deployment] = of_kind.get("deployment", [])
    services: list[Service] = of_kind.get("service", [])
    check_columns(datasets, of_kind.get("view", []), services, folder)
    made = msgspec.structs.replace(
        head,
        code_digest=code_digest,
        source=read_source_state(folder, code_digest),
        datasets=[_dataset(dataset, folder, to_code) for dataset in datasets],
        views=[view.spec for view in of_kind.get("view", [])],
        requests=[_request(one, to_code, services, datasets, folder) for one in of_kind.get("request", [])],
        services=[_service(service) for service in services],
        pipelines=[
            *(trace_pipeline(function, every, to_code) for function, every in of_kind.get("pipeline", [])),
            *(_command(one, folder, code_digest) for one in of_kind.get("command", [])),
        ],
        trains=[msgspec.structs.replace(one.spec, function=to_code(one.function)) for one in of_kind.get("train", [])],
        retrains=[deployment.retrain for deployment in deployments if deployment.retrain is not None],
    )
    specs = [_deployment(deployment.spec, made, of_kind.get("command", [])) for deployment in deployments]
    monitors = {
        spec.name: without_personal(one.monitor, spec.personal, spec.name)
        for one, spec in zip(deployments, specs, strict=True)
        if one.monitor is not None
    }
    return msgspec.structs.replace(made, deployments=specs, monitors=monitors), packed


def _by_kind(declared: Mapping[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, made in declared.items():
        found.setdefault(name.split(":", 1)[0], []).append(made)
    return found


def _functions(of_kind: Mapping[str, list[Any]]) -> list[Callable[..., Any]]:
    """Return every user function that the project names."""
    found = [one.transform for one in of_kind.get("dataset", []) if one.transform is not None]
    found += [one.function for one in (*of_kind.get("request", []), *of_kind.get("train", []))]
    return found + [function for function, _ in of_kind.get("pipeline", [])]


def _dataset(dataset: Dataset, folder: Path, to_code: ToCode) -> DatasetSpec:
    source = dataset.spec.source
    if source.has_files and source.location and not Path(source.location).is_absolute():
        source = msgspec.structs.replace(source, location=str(folder / source.location))
    transform = None if dataset.transform is None else to_code(dataset.transform)
    return msgspec.structs.replace(dataset.spec, source=source, transform=transform)


def _files_of(command: Command, folder: Path) -> list[str]:
    """Return the files of the project that a command line names, such as its script, and its lock file."""
    words = [word for word in command.spec.words if "{" not in word and not word.startswith(("-", "/"))]
    return [f"/{word}" for word in [*words, command.lock] if word and (folder / word).is_file()]


def _command(command: Command, folder: Path, code_digest: str) -> PipelineSpec:
    environment = None
    if command.lock:
        if not (folder / command.lock).is_file():
            raise InvalidInput("there is no such file", field="env", value=command.lock, rule=f"in {folder}")
        environment = (command.lock, digest_bytes((folder / command.lock).read_bytes()))
    spec = msgspec.structs.replace(command.spec, code_digest=code_digest, environment=environment)
    return commands.command_pipeline(spec, command.params, timeout_s=command.timeout_s, schedule_us=command.schedule_us)


def _service(service: Service) -> ServiceSpec:
    return ServiceSpec(
        name=service.name,
        requests=[part.name for part in service.parts if isinstance(part, RequestFeatures)],
        views=[part.spec.name for part in service.parts if isinstance(part, View)],
        label=LabelSpec(service.label.dataset, service.label.column),
        task=service.task,
    )


def _deployment(spec: DeploymentSpec, made: ProjectSpec, commands: list[Command]) -> DeploymentSpec:
    """Return the spec with the task of the service behind the model, where it is not said, and what is personal."""
    if not spec.is_external:
        personal = sorted({*spec.personal, *personal_columns(made, commands, spec.model)})
        spec = msgspec.structs.replace(spec, personal=personal)
    if spec.task:
        return spec
    names = [train.service for train in made.trains if train.model == spec.model]
    tasks = {service.name: service.task for service in made.services}
    return msgspec.structs.replace(spec, task=tasks.get(names[0], "other") if names else "other")


def _request(
    request_features: RequestFeatures, to_code: ToCode, services: list[Service], datasets: list[Dataset], folder: Path
) -> RequestSpec:
    outputs = request_features.outputs or _dry_run(request_features, services, datasets, folder)
    return RequestSpec(request_features.name, request_features.inputs, outputs, to_code(request_features.function))


def _place_in(folder: Path, error: BaseException) -> str:
    """Return file and line of the project where an error came up; empty where none of its files took part."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder) and not frame.filename.startswith(sys.prefix)
    ]
    return f"{Path(frames[-1].filename).relative_to(folder)}:{frames[-1].lineno}" if frames else ""


def _place(read: Dataset | None) -> str:
    if read is None:
        return "a service's label dataset, and the project has none"
    source = read.spec.source
    if not source.has_files:
        return f"dataset {read.spec.name}, whose rows stand in no file here"
    return f"dataset {read.spec.name}, {source.location}, and no such file is here"


def _dry_run(
    request_features: RequestFeatures, services: list[Service], datasets: list[Dataset], folder: Path
) -> list[str]:
    """Run an on-request function on an empty frame of the spine's types and return the columns it makes."""
    import polars as pl

    hint = f'@p.on_request(inputs=..., outputs=["..."]) on {request_features.name}'
    spine = next((service.label.dataset for service in services if request_features in service.parts), None)
    read = next((dataset for dataset in datasets if dataset.spec.name == spine), None)
    schema = None if read is None else find_schema(read, folder)
    if schema is not None and (absent := [name for name in request_features.inputs if name not in schema]):
        raise InvalidInput(
            f"dataset {spine} has no column {absent[0]}",
            field=f"{request_features.name}.inputs",
            value=absent[0],
            next_step=suggest(absent[0], schema),
        )
    if schema is None:
        raise InvalidInput(
            f"the columns that {request_features.name} makes cannot be found by a dry run",
            field="outputs",
            rule=f"a dry run reads the columns of {_place(read)}",
            next_step=hint
            if read is None or not read.spec.source.has_files
            else f"correct the path, or name them: {hint}",
        )
    try:
        made = request_features.function(pl.DataFrame(schema={name: schema[name] for name in request_features.inputs}))
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        place = _place_in(folder, error)
        raise InvalidInput(
            f"{request_features.name} failed on an empty frame: {type(error).__name__}: {error}",
            field=place or f"{request_features.name}.outputs",
            next_step=f"mend it; code that needs rows names its columns beside: {hint}",
        ) from None
    return list(made.columns)
