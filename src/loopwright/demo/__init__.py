"""``loopwright demo``: a year of flights through the whole loop, through the public client and the gateway."""

from loopwright.demo.command import demo

__all__ = ["demo"]
