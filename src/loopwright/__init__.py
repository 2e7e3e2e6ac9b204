"""Loopwright takes a team's data to a governed, monitored, self-retraining prediction service, and keeps it there."""

__version__ = "0.1.0"

__all__: list[str] = []
