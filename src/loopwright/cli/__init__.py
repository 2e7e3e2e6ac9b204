"""The command line. ``loopwright COMMAND --help`` explains each command; every command takes ``--json``.

What commands are made of is imported when it is first named: ``--help`` needs none of it.
"""

from typing import TYPE_CHECKING

from loopwright.cli.main import main
from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.cli.closing import print_table
    from loopwright.cli.examples import example_folder
    from loopwright.cli.explaining import print_provenance
    from loopwright.cli.project import follow_execution, load_project
    from loopwright.cli.show import Progress

__getattr__ = later(__name__)

__all__ = [
    "Progress",
    "example_folder",
    "follow_execution",
    "load_project",
    "main",
    "print_provenance",
    "print_table",
]
