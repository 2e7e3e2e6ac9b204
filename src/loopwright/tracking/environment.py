"""What a run ran on. Called in the process that trains."""

import platform
from importlib import metadata

from loopwright.kernel.documents import digest_of
from loopwright.tracking.types import Environment


def capture_environment() -> Environment:
    """Return interpreter, platform and the version of every installed distribution, with the digest of all of it."""
    packages: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            # The first one found is the one that would be imported.
            packages.setdefault(name.lower().replace("_", "-"), distribution.version)
    ordered = dict(sorted(packages.items()))
    python, machine = platform.python_version(), platform.platform()
    return Environment(python, machine, ordered, digest_of([python, machine, ordered]))
