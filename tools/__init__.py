"""Checks of the house's own rules; each runs alone, as ``python -m tools.check_fences [folder]``."""
