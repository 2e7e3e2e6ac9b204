"""The control plane's edge: HTTP over the verbs, authentication, background loops, UI pages."""

from loopwright.server.supervisor import ROLES, Supervisor, free_port, running

__all__ = ["ROLES", "Supervisor", "free_port", "running"]
