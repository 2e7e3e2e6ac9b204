"""The rooms from left to right, and importing them, so that every verb, table, event and kind of job is known."""

import importlib
from functools import cache
from importlib.util import find_spec

ROOMS = {
    "governance": (
        "approvals",
        "audit",
        "denials",
        "events",
        "ledgers",
        "lineage",
        "loosening",
        "projects",
        "tokens",
    ),
    "data": (
        "checks.base",
        "commits",
        "datasets",
        "events",
        "origins",
        "restoring",
        "schedules",
        "source_specs",
        "tags",
        "types",
        "versions",
    ),
    "pipelines": (
        "codecs",
        "declarations",
        "definitions",
        "events",
        "executions",
        "step_runs",
        "types",
    ),
    "features": (
        "events",
        "materialize",
        "online.base",
        "plans",
        "training_sets",
        "types",
        "views",
    ),
    "tracking": (
        "events",
        "experiments",
        "runs",
    ),
    "registry": (
        "aliases",
        "events",
        "flavours",
        "gates",
        "ledgers",
        "models",
        "reports",
        "versions",
    ),
    "serving": (
        "declarations",
        "deployments",
        "events",
        "failures",
        "gateways",
        "ledgers",
        "releases",
        "rollouts",
        "rollouts.rollouts",
        "rollouts.steps",
        "scores",
        "types",
    ),
    "monitoring": (
        "channels",
        "drift",
        "events",
        "incidents",
        "ledgers",
        "monitors",
        "profiling",
        "ranges",
        "targets",
        "types",
        "watched",
        "windows",
    ),
    "loop": (
        "apply",
        "attention",
        "audits",
        "backtest.backtests",
        "engine.clock_advance",
        "events",
        "exports",
        "fills",
        "housekeeping.deletion",
        "housekeeping.ending",
        "housekeeping.garbage",
        "housekeeping.retention",
        "housekeeping.tidying",
        "key_match",
        "label_feed",
        "ledgers",
        "looking_up",
        "loosening",
        "previewing",
        "promote",
        "push_feed",
        "reactions",
        "retrain",
        "status",
        "suggesting",
        "training.evaluations",
        "training.pipeline",
        "types",
        "verifying",
        "why",
    ),
}
"""The rooms, with the modules in which something is declared: verbs, events, ledgers, kinds of jobs, plugins.

A room imports only rooms to its left. What the worker alone needs is in modules of a name, such as ``jobs``.
"""
_STORE_VERBS = (
    "loopwright.store.jobs",
    "loopwright.store.chunks",
    "loopwright.store.compacting",
    "loopwright.store.retention",
)


@cache
def import_rooms(*parts: str) -> None:
    """Import the verbs of the store, and of each room the modules in which something is declared.

    Args:
        parts: Further modules of a room, imported where it has them: ``jobs`` is the worker's alone.
    """
    for name in _STORE_VERBS:
        importlib.import_module(name)
    for room, modules in ROOMS.items():
        for module in modules:
            importlib.import_module(f"loopwright.{room}.{module}")
        for part in parts:
            if find_spec(f"loopwright.{room}.{part}") is not None:
                importlib.import_module(f"loopwright.{room}.{part}")
