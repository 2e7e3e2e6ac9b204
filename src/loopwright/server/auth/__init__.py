"""Who calls: tokens, the open loopback mode, and defence against pages of other origins."""

from loopwright.server.auth.identity import TOKEN_COOKIE, Gatekeeper

__all__ = ["TOKEN_COOKIE", "Gatekeeper"]
