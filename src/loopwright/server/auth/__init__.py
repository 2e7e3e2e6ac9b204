"""Who calls: tokens, the open loopback mode, and defence against pages of other origins."""

from loopwright.server.auth.identity import SESSION_COOKIE, Gatekeeper

__all__ = ["SESSION_COOKIE", "Gatekeeper"]
