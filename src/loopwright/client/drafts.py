"""What a project has declared so far."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopwright import client
from loopwright.loop import ProjectSpec


class Draft:
    """What a project has declared so far, and the folder its code is in.

    Args:
        head: Name, owner, risk and clock.
        folder: Of the code.
        files: Files of the folder that the code reads beside Python.
    """

    def __init__(self, head: ProjectSpec, folder: Path, files: Sequence[str] = ()) -> None:
        self.head, self.folder, self.files = head, folder, list(files)
        self.declared: dict[str, Any] = {}

    def keep(self, kind: str, name: str, made: Any) -> None:
        """Keep a declaration; the same name again replaces it, as a notebook cell run twice does."""
        self.declared[f"{kind}:{name}"] = made

    def to_spec(self) -> tuple[ProjectSpec, bytes]:
        """Return the whole declaration and the packed code it refers to.

        Raises:
            InvalidInput: The declaration contradicts itself, or a function cannot be named.
        """
        return client.build_spec(self.head, self.declared, self.folder, self.files)
