"""The command line. ``loopwright COMMAND --help`` explains each command; every command takes ``--json``."""

from loopwright.cli.main import main

__all__ = ["main"]
