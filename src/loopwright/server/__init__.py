"""The control plane's edge: HTTP over the verbs, authentication, background loops, supervisor.

What needs the web framework is imported when it is first named, because commands need only the processes.
"""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.server.answers import JsonAnswer, error_answer, read_body
    from loopwright.server.auth import SESSION_COOKIE
    from loopwright.server.context import ServerContext
    from loopwright.server.disk import disks_of
    from loopwright.server.listening import check_port, free_port
    from loopwright.server.logs import older_part
    from loopwright.server.ownership import (
        clear_state,
        find_dying,
        find_running,
        nobody_else,
        refuse_if_owned,
        sole_owner,
    )
    from loopwright.server.spools import untended
    from loopwright.server.supervisor import ROLES, Supervisor, running, service_token

__getattr__ = later(__name__)

__all__ = [
    "ROLES",
    "SESSION_COOKIE",
    "JsonAnswer",
    "ServerContext",
    "Supervisor",
    "check_port",
    "clear_state",
    "disks_of",
    "error_answer",
    "find_dying",
    "find_running",
    "free_port",
    "nobody_else",
    "older_part",
    "read_body",
    "refuse_if_owned",
    "running",
    "service_token",
    "sole_owner",
    "untended",
]
