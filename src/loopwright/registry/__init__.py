"""The registry: models, versions, aliases, flavours, signatures, gates."""

from loopwright.registry.types import (
    Alias,
    ColumnKind,
    Evidence,
    GateReport,
    GateResult,
    GateSpec,
    InputColumn,
    ModelFile,
    ModelVersion,
    Signature,
    Task,
    Verdict,
)

__all__ = [
    "Alias",
    "ColumnKind",
    "Evidence",
    "GateReport",
    "GateResult",
    "GateSpec",
    "InputColumn",
    "ModelFile",
    "ModelVersion",
    "Signature",
    "Task",
    "Verdict",
]
