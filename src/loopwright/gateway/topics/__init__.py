"""Rows of datasets that come from topics of a broker: read here, and pushed as any program pushes them."""
