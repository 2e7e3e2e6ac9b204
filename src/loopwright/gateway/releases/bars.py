"""What crashed on this gateway is not loaded here again: not at all, or not into the gateway itself."""

from pathlib import Path

import msgspec

from loopwright.gateway.disk import read_document, write_document
from loopwright.gateway.releases.files import model_key
from loopwright.kernel.errors import LoopwrightError
from loopwright.kernel.version import VERSION
from loopwright.serving import Release, Variant


class ReleaseBarred(LoopwrightError):
    """Something in this release has crashed on this gateway before."""

    code = "release_barred"
    http_status = 409


class Barred(msgspec.Struct):
    """What is kept on the disk: keys of parts with why, under the version of the platform that saw it."""

    version: str = VERSION
    everywhere: dict[str, str] = {}
    in_gateway: dict[str, str] = {}


class Bars:
    """Remembers across restarts what crashed. Another version of the platform, or an operator, begins anew.

    Args:
        path: The file; deleting it while the gateway is stopped lifts every bar.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        barred = read_document(path, Barred)
        self._barred = barred if barred is not None and barred.version == VERSION else Barred()

    def check(self, release: Release) -> None:
        """Let a release pass of which nothing has crashed a process.

        Raises:
            ReleaseBarred: Something has; says what.
        """
        for variant in release.variants:
            why = self._barred.everywhere.get(_part_key(variant))
            if why is not None:
                raise ReleaseBarred(
                    f"version {variant.version} of {variant.model} is barred here: {why}",
                    field=f"variants.{variant.name}",
                    rule="what crashed or hung is not tried again",
                    next_step=f"deploy another version; to try it again, stop the gateway and delete {self._path}",
                )

    def bar(self, variant: Variant, why: str) -> None:
        """Load a variant's model, with its plan, nowhere again."""
        self._barred.everywhere[_part_key(variant)] = why
        write_document(self._path, self._barred)

    def bar_from_gateway(self, key: str, why: str) -> None:
        """Load a model (by ``model_key``) into child processes only."""
        self._barred.in_gateway[key] = why
        write_document(self._path, self._barred)

    def may_enter_gateway(self, release: Release) -> bool:
        """Say whether none of a release's models has crashed the gateway itself."""
        return not any(model_key(variant) in self._barred.in_gateway for variant in release.variants)


def _part_key(variant: Variant) -> str:
    return f"{model_key(variant)}/{variant.plan}"
