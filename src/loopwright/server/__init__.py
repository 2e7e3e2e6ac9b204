"""The control plane's edge: HTTP over the verbs, authentication, background loops, UI pages."""

from loopwright.server.ownership import clear_state, find_running, sole_owner
from loopwright.server.supervisor import ROLES, Supervisor, free_port, running

__all__ = ["ROLES", "Supervisor", "clear_state", "find_running", "free_port", "running", "sole_owner"]
