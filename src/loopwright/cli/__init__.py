"""The command line. ``loopwright COMMAND --help`` explains each command; every command takes ``--json``.

What commands are made of is imported when it is first named: ``--help`` needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopwright.cli.main import main

if TYPE_CHECKING:
    from loopwright.cli.closing import print_table
    from loopwright.cli.examples import example_folder
    from loopwright.cli.explaining import print_provenance
    from loopwright.cli.project import follow_execution, load_project
    from loopwright.cli.show import Progress

_LAZY = {
    "Progress": "show",
    "example_folder": "examples",
    "follow_execution": "project",
    "load_project": "project",
    "print_provenance": "explaining",
    "print_table": "closing",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"loopwright.cli.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")


__all__ = [
    "Progress",
    "example_folder",
    "follow_execution",
    "load_project",
    "main",
    "print_provenance",
    "print_table",
]
