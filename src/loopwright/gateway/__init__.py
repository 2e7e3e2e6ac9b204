"""The data plane: answers predictions, takes labels and pushed rows, and keeps doing so while the server is down."""

from loopwright.gateway.process import main, run

__all__ = ["main", "run"]
