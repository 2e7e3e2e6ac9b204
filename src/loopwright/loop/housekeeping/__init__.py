"""Housekeeping: what may go, when, and what must stay: deletion, retention, garbage, the end of a project."""
