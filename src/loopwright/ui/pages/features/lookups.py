"""Features looked up by key, on the page that lists them."""

import json
from typing import Any

import msgspec

from loopwright import serving
from loopwright.features import plan_inputs
from loopwright.kernel.clock import format_moment, parse_moment
from loopwright.kernel.errors import LoopwrightError, NotFound
from loopwright.loop import looking_up
from loopwright.serving import CHAMPION, Release
from loopwright.ui.kit.asking import Ask
from loopwright.wire.endpoints import WHY_MISSING, LookedUp

_FIELD = "key."
"""Begins the names of query parameters that are keys or fields of a request: they may have any name."""
_MOST_SEARCHED = 20


class Looked(msgspec.Struct, frozen=True):
    """One feature as the page shows it. ``age_us`` is None where no row is behind the value."""

    name: str
    value: float | str | None
    age_us: int | None
    missing: str
    why: str


class Lookup(msgspec.Struct, frozen=True):
    """What was looked up: at which moment, the features, and those that were left out, by why."""

    at: int
    features: list[Looked]
    left_out: dict[str, list[str]]


def look_up_key(ask: Ask) -> dict[str, Any]:
    """Return what the address asks for, or why it cannot be told; before the first query of a page."""
    deployment, fields = ask.asked("deployment"), ask.asked_under(_FIELD)
    if not (deployment and fields):
        return {"lookup": None, "lookup_problem": None}
    row, at = {name: _value(text) for name, text in fields.items()}, ask.asked("at")
    try:
        (found,) = ask.operate(looking_up.look_up, deployment=deployment, rows=[row], at=_moment(at))
    except LoopwrightError as error:
        return {"lookup": None, "lookup_problem": error.to_dict()}
    return {"lookup": _shown(found), "lookup_problem": None}


def lookup_form(ask: Ask) -> dict[str, Any]:
    """Return what the form offers: deployments, the chosen one's keys, and the fields that its functions read."""
    names = [one.spec.name for one in ask(serving.list_deployments) if not one.spec.is_external]
    chosen = ask.asked("deployment")
    keys: list[str] = []
    inputs: list[str] = []
    for name in [chosen] if chosen else names[:_MOST_SEARCHED]:
        keys, inputs = _fields(ask, name)
        if keys or inputs:
            chosen = name
            break
    return {
        "deployments": names,
        "deployment": chosen or (names[0] if names else ""),
        "keys": keys,
        "inputs": inputs,
        "asked": ask.asked_under(_FIELD),
        "at": ask.asked("at"),
    }


def _fields(ask: Ask, deployment: str) -> tuple[list[str], list[str]]:
    """Return the keys that a deployment looks features up by, and the other fields that a request carries."""
    try:
        release: Release = ask(serving.get_release, deployment=deployment)
    except NotFound:
        return [], []
    champion = next((one for one in release.variants if one.name == CHAMPION), None)
    plan = release.plans.get(champion.plan) if champion is not None else None
    if plan is None:
        return [], []
    keys = list(dict.fromkeys(view.entity for view in plan.views))
    return keys, [name for name in plan_inputs(plan) if name not in keys]


def _shown(found: LookedUp) -> Lookup:
    left_out: dict[str, list[str]] = {}
    for name, why in found.left_out.items():
        left_out.setdefault(why, []).append(name)
    features = []
    for name, value in found.values.items():
        age_s, reason = found.ages_s.get(name), found.missing.get(name, "")
        age_us = None if age_s is None else round(age_s * 1e6)
        features.append(Looked(name, value, age_us, reason, WHY_MISSING.get(reason, "")))
    return Lookup(parse_moment(found.at), features, left_out)


def _value(text: str) -> Any:
    """Return a field as JSON has it: a number, true, false, or null; else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value


def _moment(text: str) -> str | None:
    return format_moment(parse_moment(text, "at", zone="UTC")) if text else None
