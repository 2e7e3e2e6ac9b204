"""What of a project is played again: one deployment, and all that it needs."""

import msgspec

from loopwright.data import SourceSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.types import ProjectSpec, TrainSpec
from loopwright.serving import ApproveSpec


def narrow_spec(spec: ProjectSpec, deployment: str) -> ProjectSpec:
    """Return the spec for a scratch project: rows are pushed as they are stored, nobody is asked, nobody is told.

    Pipelines of the user's own and alert channels reach outside; they stay out. So do gates about latency, for how busy
    a machine is today says nothing about history, and how long rows are kept: the project goes with its rows.

    Args:
        spec: The policy; it declares the deployment.
        deployment: Which one is played.

    Raises:
        InvalidInput: Nothing trains its model, or its label happens at no moment, so that its history says nothing.
    """
    declared = next(each for each in spec.deployments if each.name == deployment)
    trains = [train for train in spec.trains if train.model == declared.model]
    gates = [gate for gate in declared.gates if gate.kind != "latency"]
    played = msgspec.structs.replace(declared, approve=ApproveSpec("policy", "policy"), gates=gates)
    narrowed = msgspec.structs.replace(
        spec,
        clock="replay",
        datasets=[msgspec.structs.replace(each, source=SourceSpec("push"), transform=None) for each in spec.datasets],
        pipelines=[],
        trains=trains,
        deployments=[played],
        monitors={
            name: msgspec.structs.replace(each, channels=[], audit_us=0)
            for name, each in spec.monitors.items()
            if name == deployment
        },
        retentions=[],
        retrains=[each for each in spec.retrains if each.deployment == deployment],
    )
    if all(train.alias for train in trains):
        raise InvalidInput(
            "no training makes this deployment's model, so that its history cannot be replayed",
            field="deployment",
            value=deployment,
            rule="a function under @p.train",
        )
    label = next(service.label for service in spec.services if service.name == first_training(narrowed).service)
    if next(each for each in spec.datasets if each.name == label.dataset).time is None:
        rule = "the dataset of the label has a time"
        raise InvalidInput("rows without a moment cannot be replayed", field="deployment", value=deployment, rule=rule)
    return narrowed


def first_training(spec: ProjectSpec) -> TrainSpec:
    """Return the training that makes the first model of a narrowed spec; others make the yardsticks."""
    return next(train for train in spec.trains if not train.alias)
