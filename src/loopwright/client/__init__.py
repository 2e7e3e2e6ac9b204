"""The same verbs over HTTP and in process; the declarations of a project file.

Each name is imported when it is first used, so that a command loads no more than it needs.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.client.applying import Applied, apply_project
    from loopwright.client.caller import HttpCaller
    from loopwright.client.datasets import RemoteDataset
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
    from loopwright.client.finding import calling, check_addressee, find_caller
    from loopwright.client.frames import read_table, to_parquet
    from loopwright.client.project import Project, Retrain
    from loopwright.client.remote import Remote, RemoteDeployment, connect
    from loopwright.client.specs import build_spec
    from loopwright.client.tokens import find_token, keep_token
    from loopwright.client.waiting import RemoteBacktest, RemoteExecution, RemoteJob

__getattr__ = later(__name__)

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
    "build_spec",
    "calling",
    "check",
    "check_addressee",
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
