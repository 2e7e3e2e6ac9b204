"""Legal state changes."""

from collections.abc import Mapping, Set

from loopwright.kernel.errors import Conflict


def check_change(kind: str, legal: Mapping[str, Set[str]], before: str, after: str) -> str:
    """Return ``after`` if the table allows the step from ``before``.

    Raises:
        Conflict: The step is not legal; names both states and what would be.
    """
    allowed = legal.get(before, frozenset())
    if after not in allowed:
        options = ", ".join(sorted(allowed)) or "nothing; this state is final"
        raise Conflict(
            f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} that is {before} cannot become {after}",
            field="state",
            value=after,
            rule=f"from {before}: {options}",
        )
    return after
