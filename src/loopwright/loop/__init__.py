"""The loop: apply, reactions, retrain, promote, rollback, why, backtest. What reads or changes several rooms lives here."""

from loopwright.loop import apply, exports, reactions, status, why
from loopwright.loop.operations import OperationContext
from loopwright.loop.reactor import Reactor
from loopwright.loop.replay import Advanced, advance, come_to_rest
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
    "OperationContext",
    "Plan",
    "PlannedChange",
    "ProjectSpec",
    "Provenance",
    "ProvenanceNode",
    "Reactor",
    "RetrainRecord",
    "RetrainSpec",
    "TrainSpec",
    "When",
    "advance",
    "apply",
    "come_to_rest",
    "exports",
    "fire_due",
    "reactions",
    "status",
    "why",
]
