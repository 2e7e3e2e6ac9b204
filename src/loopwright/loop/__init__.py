"""The loop: apply, reactions, retrain, promote, rollback, why. What reads or changes several rooms lives here."""

from loopwright.loop import (
    apply,
    attention,
    commands,
    ending,
    evaluations,
    exports,
    fills,
    garbage,
    reactions,
    replaying,
    status,
    why,
)
from loopwright.loop.attention import Attention, Need, NeedKind, find_needs
from loopwright.loop.commands import CommandSpec, ModelOutput
from loopwright.loop.events import (
    EvaluationStarted,
    GarbageFreed,
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
    Belongings,
    Plan,
    PlannedChange,
    ProjectSpec,
    Provenance,
    ProvenanceNode,
    Replayed,
    RetrainRecord,
    RetrainSpec,
    TrainSpec,
    When,
)

__all__ = [
    "Advanced",
    "Attention",
    "Belongings",
    "CommandSpec",
    "EvaluationStarted",
    "GarbageFreed",
    "ModelOutput",
    "Need",
    "NeedKind",
    "OperationContext",
    "Plan",
    "PlannedChange",
    "ProjectApplied",
    "ProjectSpec",
    "Provenance",
    "ProvenanceNode",
    "ReactionFailed",
    "Reactor",
    "Replayed",
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
    "attention",
    "commands",
    "deploy",
    "ending",
    "evaluations",
    "exports",
    "fills",
    "find_needs",
    "fire_due",
    "garbage",
    "list_retrains",
    "reactions",
    "replaying",
    "rollback",
    "seal_gateway",
    "start_retrain",
    "status",
    "why",
]
