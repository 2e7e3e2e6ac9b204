"""The control plane's edge: HTTP over the verbs, authentication, background loops, UI pages."""

from loopwright.server.ownership import find_running, refuse_if_owned
from loopwright.server.supervisor import ROLES, Supervisor, free_port, running

__all__ = ["ROLES", "Supervisor", "find_running", "free_port", "refuse_if_owned", "running"]
