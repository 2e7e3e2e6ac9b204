"""Where the flights example is: it ships with the package and stands beside it in a checkout."""

from pathlib import Path

import loopwright
from loopwright.kernel.errors import NotFound


def example_folder() -> Path:
    """Return the folder of the flights example, in the installed package or in a checkout.

    Raises:
        NotFound: Neither has it.
    """
    package = Path(loopwright.__file__).parent
    for place in (package / "examples" / "flights", package.parents[1] / "examples" / "flights"):
        if (place / "flights.py").exists():
            return place
    raise NotFound("the flights example is not installed", next_step="run the demo from a checkout: make demo")
