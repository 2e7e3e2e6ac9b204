"""The control plane's edge: HTTP over the verbs, authentication, background loops, supervisor.

What needs the web framework is imported when it is first named, because commands need only the processes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.server.ownership import clear_state, find_running, refuse_if_owned, sole_owner
from loopwright.server.supervisor import ROLES, Supervisor, free_port, running, service_token

if TYPE_CHECKING:
    from loopwright.server.answers import JsonAnswer, error_answer, read_body
    from loopwright.server.auth import SESSION_COOKIE
    from loopwright.server.context import ServerContext

_LAZY = {
    "JsonAnswer": "answers",
    "ServerContext": "context",
    "SESSION_COOKIE": "auth",
    "error_answer": "answers",
    "read_body": "answers",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"loopwright.server.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")


__all__ = [
    "ROLES",
    "SESSION_COOKIE",
    "JsonAnswer",
    "ServerContext",
    "Supervisor",
    "clear_state",
    "error_answer",
    "find_running",
    "free_port",
    "read_body",
    "refuse_if_owned",
    "running",
    "service_token",
    "sole_owner",
]
