"""The same verbs over HTTP and in process; the declarations of a project file.

Each name is imported when it is first used, so that a command loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopwright.client.applying import Applied, apply_project
    from loopwright.client.caller import HttpCaller, calling, find_caller
    from loopwright.client.declarations import (
        Approve,
        Canary,
        Monitor,
        Shadow,
        after,
        agg,
        check,
        gate,
        model,
        source,
        when,
    )
    from loopwright.client.external import External
    from loopwright.client.frames import read_table, to_parquet
    from loopwright.client.project import Project, Retrain
    from loopwright.client.remote import Remote, RemoteDataset, RemoteDeployment, connect
    from loopwright.client.tokens import find_token, keep_token
    from loopwright.client.waiting import RemoteBacktest, RemoteExecution, RemoteJob

_HOMES = {
    **dict.fromkeys(("Applied", "apply_project"), "applying"),
    **dict.fromkeys(("HttpCaller", "calling", "find_caller"), "caller"),
    **dict.fromkeys(
        ("Approve", "Canary", "Monitor", "Shadow", "after", "agg", "check", "gate", "model", "source", "when"),
        "declarations",
    ),
    **dict.fromkeys(("External",), "external"),
    **dict.fromkeys(("read_table", "to_parquet"), "frames"),
    **dict.fromkeys(("Project", "Retrain"), "project"),
    **dict.fromkeys(("Remote", "RemoteDataset", "RemoteDeployment", "connect"), "remote"),
    **dict.fromkeys(("find_token", "keep_token"), "tokens"),
    **dict.fromkeys(("RemoteBacktest", "RemoteExecution", "RemoteJob"), "waiting"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "Applied",
    "Approve",
    "Canary",
    "External",
    "HttpCaller",
    "Monitor",
    "Project",
    "Remote",
    "RemoteBacktest",
    "RemoteDataset",
    "RemoteDeployment",
    "RemoteExecution",
    "RemoteJob",
    "Retrain",
    "Shadow",
    "after",
    "agg",
    "apply_project",
    "calling",
    "check",
    "connect",
    "find_caller",
    "find_token",
    "gate",
    "keep_token",
    "model",
    "read_table",
    "source",
    "to_parquet",
    "when",
]
