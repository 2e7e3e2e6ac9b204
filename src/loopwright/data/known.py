"""When a value became known: the moment before which nobody may use it."""

from collections.abc import Mapping
from typing import Protocol

from loopwright.data.types import KnownAt
from loopwright.kernel.errors import InvalidInput


class Timed(Protocol):
    """What says when values became known: a dataset's declaration, or what a gateway holds of it."""

    @property
    def name(self) -> str:
        """Name of the dataset."""
        ...

    @property
    def time(self) -> str | None:
        """Column of the event time."""
        ...

    @property
    def known_at(self) -> Mapping[str, KnownAt]:
        """Column -> when its values became known; ``*`` for all others."""
        ...


def known_moment(spec: Timed, column: str) -> KnownAt:
    """Return when values of a column became known: its own entry, that of ``*``, else the event time.

    Raises:
        InvalidInput: The dataset has no time.
    """
    declared = spec.known_at.get(column) or spec.known_at.get("*")
    if declared is not None:
        return declared
    if spec.time is None:
        raise InvalidInput(
            f"dataset {spec.name} has no time, so nobody can say when {column} became known",
            field="time",
            rule="a dataset that features read has a time column",
        )
    return KnownAt(spec.time)
