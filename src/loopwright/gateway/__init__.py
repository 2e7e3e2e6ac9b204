"""The data plane: answers predictions, takes labels and pushed rows, and keeps doing so while the server is down."""

from loopwright.gateway.process import main, run
from loopwright.gateway.salvage import Salvaged, salvage

__all__ = ["Salvaged", "main", "run", "salvage"]
