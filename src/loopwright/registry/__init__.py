"""The registry: models, versions, aliases, flavours, signatures, gates.

What computes is imported when it is first named, because it needs numpy: ``from loopwright.registry import metrics``.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.registry import artifacts, encoding, flavours, gates, importing, ledgers, metrics
    from loopwright.registry.aliases import CHAMPION, list_aliases, remove_alias, set_alias
    from loopwright.registry.artifacts import SavedModel, columns_of, load_model, save_model
    from loopwright.registry.encoding import encode
    from loopwright.registry.events import (
        AliasRemoved,
        AliasSet,
        GatesEvaluated,
        GatesForced,
        ModelImported,
        VersionRegistered,
    )
    from loopwright.registry.flavours import FLAVOURS
    from loopwright.registry.flavours.base import Predictor, TrainingColumn
    from loopwright.registry.flavours.constant import ConstantModel
    from loopwright.registry.flavours.lightgbm import feature_importance
    from loopwright.registry.gates import check_specs, run_gates
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
    from loopwright.registry.versions import (
        check_files,
        get_version,
        import_model,
        list_versions,
        model_digest,
        register,
    )

__getattr__ = later(__name__)

__all__ = [
    "CHAMPION",
    "FLAVOURS",
    "LOWER_IS_BETTER",
    "Alias",
    "AliasRemoved",
    "AliasSet",
    "ColumnKind",
    "ConstantModel",
    "Evidence",
    "GateReport",
    "GateResult",
    "GateSpec",
    "GatesEvaluated",
    "GatesForced",
    "InputColumn",
    "Model",
    "ModelFile",
    "ModelImported",
    "ModelVersion",
    "Predictor",
    "SavedModel",
    "Signature",
    "Task",
    "TrainingColumn",
    "Verdict",
    "VersionRegistered",
    "artifacts",
    "check_files",
    "check_specs",
    "columns_of",
    "encode",
    "encoding",
    "feature_importance",
    "flavours",
    "force_gates",
    "gain",
    "gate_report",
    "gate_reports",
    "gates",
    "get_version",
    "import_model",
    "importing",
    "ledgers",
    "list_aliases",
    "list_models",
    "list_versions",
    "load_model",
    "metrics",
    "model_digest",
    "record_gates",
    "register",
    "remove_alias",
    "run_gates",
    "save_model",
    "set_alias",
]
