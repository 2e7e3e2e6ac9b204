"""Plugins: one file and one entry point each; nothing is imported until it is used."""

from functools import cache
from importlib import metadata
from typing import Any

from loopwright.kernel.errors import NotFound

BUILT_IN: dict[str, dict[str, str]] = {}
"""``kind -> name -> module:attribute`` of the plugins that ship with the package; each room adds its own."""


def add_built_in(kind: str, plugins: dict[str, str]) -> None:
    """Register the plugins a room ships, as ``name -> module:attribute``."""
    BUILT_IN.setdefault(kind, {}).update(plugins)


@cache
def _entry_points(kind: str) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=f"loopwright.{kind}")}


def plugin_names(kind: str) -> list[str]:
    """Return the names of every installed plugin of a kind."""
    return sorted({*BUILT_IN.get(kind, {}), *_entry_points(kind)})


def plugged_names(kind: str) -> list[str]:
    """Return the names of the plugins of a kind that other packages bring; a built-in one of that name stands before.

    Those of the platform itself are not among them.
    """
    return sorted({*_entry_points(kind)} - {*BUILT_IN.get(kind, {})})


@cache
def load_plugin(kind: str, name: str) -> Any:
    """Import and return one plugin.

    Raises:
        NotFound: No plugin of that name is installed.
    """
    if name in BUILT_IN.get(kind, {}):
        module, attribute = BUILT_IN[kind][name].split(":")
        return metadata.EntryPoint(name, f"{module}:{attribute}", f"loopwright.{kind}").load()
    if name in _entry_points(kind):
        return _entry_points(kind)[name].load()
    raise NotFound(
        f"no {kind} plugin is named {name}", field=kind, value=name, rule=f"one of {', '.join(plugin_names(kind))}"
    )
