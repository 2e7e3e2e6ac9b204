"""What predictions of a model do not log: personal columns of the datasets behind it, by the names of its features."""

from collections.abc import Iterable, Sequence

import msgspec

from loopwright.client.handles import Command
from loopwright.features import ColumnViewSpec, ServiceSpec, view_names
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import ProjectSpec
from loopwright.monitoring import MonitorSpec


def personal_columns(made: ProjectSpec, commands: Sequence[Command], model: str) -> list[str]:
    """Return the personal columns, and the features that hold one as it is; of a model made elsewhere, all there are.

    Args:
        made: The project with its datasets, views, requests, services and trains.
        commands: Its commands.
        model: Name of the model.
    """
    names = {train.service for train in made.trains if train.model == model}
    services = [service for service in made.services if service.name in names]
    scripts = [
        command.spec for command in commands if any(output.model == model for output in command.spec.outputs.values())
    ]
    datasets = {name for script in scripts for name in script.inputs.values()}
    if not services and not scripts:
        services, datasets = made.services, {dataset.name for dataset in made.datasets}
    personal = {dataset.name: set(dataset.personal) for dataset in made.datasets}
    found = {column for name in datasets for column in personal[name]}
    for service in services:
        found |= _of_service(made, service, personal)
    return sorted(found)


def _of_service(made: ProjectSpec, service: ServiceSpec, personal: dict[str, set[str]]) -> set[str]:
    views = [view for view in made.views if view.name in service.views]
    requests = [request for request in made.requests if request.name in service.requests]
    found = set(personal.get(service.label.dataset, ()))
    for view, names in zip(views, view_names(requests, views), strict=True):
        hidden = personal.get(view.dataset, set())
        found |= hidden
        if isinstance(view, ColumnViewSpec):
            found |= {names[column] for column in view.columns if column in hidden}
    return found


def without_personal(monitor: MonitorSpec, personal: Iterable[str], deployment: str) -> MonitorSpec:
    """Return a monitor that does not look for what is not logged.

    Raises:
        InvalidInput: A segment is personal.
    """
    if hidden := [name for name in personal if name in monitor.segments]:
        raise InvalidInput(
            "a personal column is never logged, so it cannot be a segment",
            field=f"deployments.{deployment}.monitor.segments",
            value=hidden[0],
            rule="not personal",
            next_step="leave it out, or take a coarser column that is not personal",
        )
    return msgspec.structs.replace(monitor, ignore=list(dict.fromkeys([*monitor.ignore, *personal])))
