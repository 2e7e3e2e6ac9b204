"""The registry: models, versions, aliases, flavours, signatures, gates.

What computes is imported when it is first named, because it needs numpy: ``from loopwright.registry import metrics``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.registry import flavours, gates
from loopwright.registry.aliases import CHAMPION, list_aliases, remove_alias, set_alias
from loopwright.registry.models import list_models
from loopwright.registry.reports import force_gates, gate_report, gate_reports, record_gates
from loopwright.registry.types import (
    LOWER_IS_BETTER,
    Alias,
    ColumnKind,
    Evidence,
    GateReport,
    GateResult,
    GateSpec,
    InputColumn,
    Model,
    ModelFile,
    ModelVersion,
    Signature,
    Task,
    Verdict,
    gain,
)
from loopwright.registry.versions import get_version, import_model, model_digest, register, versions

if TYPE_CHECKING:
    from loopwright.registry import artifacts, encoding, importing, metrics
    from loopwright.registry.encoding import encode


def __getattr__(name: str) -> Any:
    if name == "encode":
        return import_module("loopwright.registry.encoding").encode
    if name in ("artifacts", "encoding", "importing", "metrics"):
        return import_module(f"loopwright.registry.{name}")
    raise AttributeError(f"module {__name__} has no attribute {name}")


__all__ = [
    "CHAMPION",
    "LOWER_IS_BETTER",
    "Alias",
    "ColumnKind",
    "Evidence",
    "GateReport",
    "GateResult",
    "GateSpec",
    "InputColumn",
    "Model",
    "ModelFile",
    "ModelVersion",
    "Signature",
    "Task",
    "Verdict",
    "artifacts",
    "encode",
    "encoding",
    "flavours",
    "force_gates",
    "gain",
    "gate_report",
    "gate_reports",
    "gates",
    "get_version",
    "import_model",
    "importing",
    "list_aliases",
    "list_models",
    "metrics",
    "model_digest",
    "record_gates",
    "register",
    "remove_alias",
    "set_alias",
    "versions",
]
