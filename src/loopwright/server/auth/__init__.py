"""Who calls: tokens, the open loopback mode, and defence against pages of other origins."""

from loopwright.server.auth.identity import Gatekeeper, is_loopback

__all__ = ["Gatekeeper", "is_loopback"]
