"""Refs: the printable address of any object, ``project/kind:name/version``."""

import re
from typing import Annotated

import msgspec

from loopwright.kernel.errors import InvalidInput

NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}\Z")
"""Names of objects: letters, digits, ``_ . -``; never empty, never a path."""
MaybeName = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.\-]{0,127})?\Z")]
"""A name as it crosses the wire, or the empty text where there is none."""

_REF = re.compile(
    r"^(?:(?P<project>[A-Za-z0-9_][A-Za-z0-9_.\-]*)/)?"
    r"(?P<kind>[a-z_]+):(?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-]*)(?:/(?P<version>[0-9]{1,18}))?\Z"
)


class Ref(msgspec.Struct, frozen=True):
    """Address of one object, such as ``flights/model:late/17``."""

    kind: str
    name: str
    version: int | None = None
    project: str = ""

    def __str__(self) -> str:
        project = f"{self.project}/" if self.project else ""
        version = "" if self.version is None else f"/{self.version}"
        return f"{project}{self.kind}:{self.name}{version}"


def parse_ref(text: str, project: str = "", field: str = "ref") -> Ref:
    """Read a ref; a missing project part is filled from ``project``.

    Raises:
        InvalidInput: The text does not follow the form.
    """
    match = _REF.match(text)
    if match is None:
        raise InvalidInput(
            "this is not a ref",
            field=field,
            value=text,
            rule="project/kind:name/version",
            next_step="for example model:late/17",
        )
    version = match["version"]
    return Ref(match["kind"], match["name"], int(version) if version else None, match["project"] or project)


def check_name(name: str, field: str = "name") -> str:
    """Return ``name`` if it may name an object.

    Raises:
        InvalidInput: It is empty, too long, or holds a character that could form a path or a URL.
    """
    if not NAME.match(name) or ".." in name:
        raise InvalidInput(
            "this name cannot be used",
            field=field,
            value=name,
            rule="1-128 letters, digits, '_', '.', '-'; starts with a letter, digit or '_'; no '..'",
        )
    return name
