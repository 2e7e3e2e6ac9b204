"""From a team's data to a governed, monitored, self-retraining prediction service: one package, one server, one loop.

>>> import loopwright as lw
>>> p = lw.Project("flights", owner="ops-ml")
>>> p.name
'flights'
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later
from loopwright.kernel.version import VERSION as __version__  # noqa: N811 - the name Python asks for

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

__getattr__ = later(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
