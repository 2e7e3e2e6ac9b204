"""Looking features up by key: what a prediction would be given now, how old it is, and why something is missing."""

from collections.abc import Iterator
from typing import Any

import click

from loopwright.cli.asking import read_arguments
from loopwright.cli.connection import remote
from loopwright.cli.show import json_option, print_json, print_table, project_option, say
from loopwright.kernel.errors import InvalidInput
from loopwright.wire.endpoints import WHY_MISSING, LookedUp

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@click.command()
@click.argument("deployment")
@click.argument("keys", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--at", help="The moment, ISO 8601 with a zone; default now. Replay projects have to be told one.")
@project_option
@json_option
def features(deployment: str, keys: tuple[str, ...], at: str | None, project: str | None, as_json: bool) -> None:
    """Look up the features that DEPLOYMENT would be given for a key, such as carrier=UA origin=JFK.

    Nothing is predicted and nothing is logged. A value is read as JSON where it can be, else as text. Fields that
    on-request functions read may be named too; features of which no key or field is named are left out.
    """
    (found,) = remote(project).deployment(deployment).features([_row_of(keys)], at=at)
    if as_json:
        print_json(found)
        return
    say(f"{deployment} at {found.at}")
    print_table(("feature", "value", "age", "missing"), _lines(found))
    for why, names in _by_reason(found.left_out).items():
        say(f"left out: {', '.join(names)} ({why})")


def _row_of(keys: tuple[str, ...]) -> dict[str, Any]:
    row = read_arguments(keys, "keys")
    for name, value in row.items():
        if isinstance(value, list | dict):
            raise InvalidInput(
                "a key is one value", field=name, value=value, rule="text, a number, true, false or null"
            )
    return row


def _lines(found: LookedUp) -> Iterator[tuple[str, str | None, str | None, str]]:
    for name, value in found.values.items():
        age_s, why = found.ages_s.get(name), found.missing.get(name, "")
        told = None if value is None else f"{value:.12g}" if isinstance(value, float) else value
        yield name, told, None if age_s is None else _age(age_s), f"{why}: {WHY_MISSING[why]}" if why else ""


def _age(age_s: float) -> str:
    """Return an age in its two largest units, such as ``3 h 20 min``."""
    whole = round(age_s)
    if whole < 1:
        return f"{age_s:.1f} s"
    parts = []
    for seconds, unit in _UNITS:
        count, whole = divmod(whole, seconds)
        parts.append((count, unit))
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def _by_reason(left_out: dict[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, why in left_out.items():
        names.setdefault(why, []).append(name)
    return names
