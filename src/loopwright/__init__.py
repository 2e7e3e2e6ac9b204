"""From a team's data to a governed, monitored, self-retraining prediction service: one package, one server, one loop.

>>> import loopwright as lw
>>> p = lw.Project("flights", owner="ops-ml")
>>> p.name
'flights'
"""

import importlib
from typing import TYPE_CHECKING, Any

from loopwright.kernel.version import VERSION as __version__  # noqa: N811 - the name Python asks for

_HOMES = {
    "Approve": "loopwright.client",
    "Canary": "loopwright.client",
    "ConstantModel": "loopwright.registry",
    "LoopwrightError": "loopwright.kernel.errors",
    "Monitor": "loopwright.client",
    "Project": "loopwright.client",
    "Retrain": "loopwright.client",
    "Shadow": "loopwright.client",
    "TrainingSet": "loopwright.features",
    "after": "loopwright.client",
    "agg": "loopwright.client",
    "check": "loopwright.client",
    "connect": "loopwright.client",
    "gate": "loopwright.client",
    "model": "loopwright.client",
    "source": "loopwright.client",
    "when": "loopwright.client",
}

__all__ = [
    "Approve",
    "Canary",
    "ConstantModel",
    "LoopwrightError",
    "Monitor",
    "Project",
    "Retrain",
    "Shadow",
    "TrainingSet",
    "__version__",
    "after",
    "agg",
    "check",
    "connect",
    "gate",
    "model",
    "source",
    "when",
]

if TYPE_CHECKING:
    from loopwright.client import (
        Approve,
        Canary,
        Monitor,
        Project,
        Retrain,
        Shadow,
        after,
        agg,
        check,
        connect,
        gate,
        model,
        source,
        when,
    )
    from loopwright.features import TrainingSet
    from loopwright.kernel.errors import LoopwrightError
    from loopwright.registry import ConstantModel


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import loopwright`` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'loopwright' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
