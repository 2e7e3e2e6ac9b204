"""From a team's data to a governed, monitored, self-retraining prediction service: one package, one server, one loop.

>>> import loopwright as lw
>>> p = lw.Project("flights", owner="ops-ml")
>>> p.name
'flights'
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Approve": "loopwright.client.declarations",
    "Canary": "loopwright.client.declarations",
    "ConstantModel": "loopwright.registry.flavours.constant",
    "LoopwrightError": "loopwright.kernel.errors",
    "Monitor": "loopwright.client.declarations",
    "Project": "loopwright.client.project",
    "Retrain": "loopwright.client.project",
    "Shadow": "loopwright.client.declarations",
    "TrainingSet": "loopwright.features.training",
    "after": "loopwright.client.declarations",
    "agg": "loopwright.client.declarations",
    "check": "loopwright.client.declarations",
    "connect": "loopwright.client.remote",
    "gate": "loopwright.client.declarations",
    "model": "loopwright.client.declarations",
    "source": "loopwright.client.declarations",
    "when": "loopwright.client.declarations",
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
    from loopwright.client.declarations import (
        Approve,
        Canary,
        Monitor,
        Shadow,
        after,
        agg,
        check,
        gate,
        model,
        source,
        when,
    )
    from loopwright.client.project import Project, Retrain
    from loopwright.client.remote import connect
    from loopwright.features.training import TrainingSet
    from loopwright.kernel.errors import LoopwrightError
    from loopwright.registry.flavours.constant import ConstantModel


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import loopwright`` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"loopwright has no {name}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
