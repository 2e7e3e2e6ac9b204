"""The loop: apply, reactions, retrain, promote, rollback, why. What reads or changes several rooms lives here.

What plays and measures a stretch of history loads Polars, so it is imported only when somebody asks for it.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.loop import (
        apply,
        attention,
        audits,
        exports,
        fills,
        ledgers,
        looking_up,
        previewing,
        reactions,
        status,
        suggesting,
        verifying,
        why,
    )
    from loopwright.loop.attention import Attention, find_needs
    from loopwright.loop.backtest import backtests
    from loopwright.loop.backtest.backtests import get_backtest, list_backtests, start_backtest
    from loopwright.loop.backtest.closing import SERVED, with_series
    from loopwright.loop.backtest.driver import Replay, Requests, Stream
    from loopwright.loop.backtest.scratch import is_scratch
    from loopwright.loop.engine.clock_advance import Advanced, advance
    from loopwright.loop.engine.operations import OperationContext
    from loopwright.loop.engine.reactor import Reactor
    from loopwright.loop.engine.timers import fire_due
    from loopwright.loop.events import (
        BacktestBegun,
        BacktestFinished,
        BacktestStarted,
        Deleted,
        EvaluationStarted,
        ExportStarted,
        GarbageFreed,
        OnlineTidied,
        ProjectApplied,
        ReactionFailed,
        Restored,
        RetrainChanged,
        RetrainStarted,
        SkewAudited,
        TimerFailed,
        Trained,
    )
    from loopwright.loop.housekeeping import answers, deletion, ending, garbage, retention, tidying
    from loopwright.loop.needs import Need, NeedKind
    from loopwright.loop.promote import deploy, rollback
    from loopwright.loop.retrain import list_retrains, start_retrain
    from loopwright.loop.training import commands, evaluations
    from loopwright.loop.training.commands import CommandSpec, ModelOutput
    from loopwright.loop.types import (
        Backtest,
        Belongings,
        ClosingTable,
        DeletionPlan,
        Hold,
        Plan,
        PlannedChange,
        ProjectSpec,
        Provenance,
        ProvenanceNode,
        Replayed,
        RetrainRecord,
        RetrainSpec,
        Scope,
        TrainSpec,
        When,
    )

__getattr__ = later(__name__)

__all__ = [
    "SERVED",
    "Advanced",
    "Attention",
    "Backtest",
    "BacktestBegun",
    "BacktestFinished",
    "BacktestStarted",
    "Belongings",
    "ClosingTable",
    "CommandSpec",
    "Deleted",
    "DeletionPlan",
    "EvaluationStarted",
    "ExportStarted",
    "GarbageFreed",
    "Hold",
    "ModelOutput",
    "Need",
    "NeedKind",
    "OnlineTidied",
    "OperationContext",
    "Plan",
    "PlannedChange",
    "ProjectApplied",
    "ProjectSpec",
    "Provenance",
    "ProvenanceNode",
    "ReactionFailed",
    "Reactor",
    "Replay",
    "Replayed",
    "Requests",
    "Restored",
    "RetrainChanged",
    "RetrainRecord",
    "RetrainSpec",
    "RetrainStarted",
    "Scope",
    "SkewAudited",
    "Stream",
    "TimerFailed",
    "TrainSpec",
    "Trained",
    "When",
    "advance",
    "answers",
    "apply",
    "attention",
    "audits",
    "backtests",
    "commands",
    "deletion",
    "deploy",
    "ending",
    "evaluations",
    "exports",
    "fills",
    "find_needs",
    "fire_due",
    "garbage",
    "get_backtest",
    "is_scratch",
    "ledgers",
    "list_backtests",
    "list_retrains",
    "looking_up",
    "previewing",
    "reactions",
    "retention",
    "rollback",
    "start_backtest",
    "start_retrain",
    "status",
    "suggesting",
    "tidying",
    "verifying",
    "why",
    "with_series",
]
