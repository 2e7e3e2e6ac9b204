"""Monitors, windows and incidents."""
