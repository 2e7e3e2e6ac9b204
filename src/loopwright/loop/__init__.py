"""The loop: apply, reactions, retrain, promote, rollback, why. What reads or changes several rooms lives here."""

from loopwright.loop import apply, commands, evaluations, exports, fills, reactions, status, why
from loopwright.loop.commands import CommandSpec, ModelOutput
from loopwright.loop.events import (
    EvaluationStarted,
    ProjectApplied,
    ReactionFailed,
    Restored,
    RetrainChanged,
    RetrainStarted,
    TimerFailed,
    Trained,
)
from loopwright.loop.operations import OperationContext, seal_gateway
from loopwright.loop.promote import deploy, rollback
from loopwright.loop.reactor import Reactor
from loopwright.loop.replay import Advanced, advance
from loopwright.loop.retrain import list_retrains, start_retrain
from loopwright.loop.timers import fire_due
from loopwright.loop.types import (
    Plan,
    PlannedChange,
    ProjectSpec,
    Provenance,
    ProvenanceNode,
    RetrainRecord,
    RetrainSpec,
    TrainSpec,
    When,
)

__all__ = [
    "Advanced",
    "CommandSpec",
    "EvaluationStarted",
    "ModelOutput",
    "OperationContext",
    "Plan",
    "PlannedChange",
    "ProjectApplied",
    "ProjectSpec",
    "Provenance",
    "ProvenanceNode",
    "ReactionFailed",
    "Reactor",
    "Restored",
    "RetrainChanged",
    "RetrainRecord",
    "RetrainSpec",
    "RetrainStarted",
    "TimerFailed",
    "TrainSpec",
    "Trained",
    "When",
    "advance",
    "apply",
    "commands",
    "deploy",
    "evaluations",
    "exports",
    "fills",
    "fire_due",
    "list_retrains",
    "reactions",
    "rollback",
    "seal_gateway",
    "start_retrain",
    "status",
    "why",
]
