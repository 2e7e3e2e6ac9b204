"""The data plane: answers predictions, takes labels and pushed rows, and keeps doing so while the server is down.

Its children import their own modules of it, not what the gateway itself runs on.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.gateway.log.salvage import Salvaged, salvage_spools
    from loopwright.gateway.process import main, run

__getattr__ = later(__name__)

__all__ = ["Salvaged", "main", "run", "salvage_spools"]
