"""Front doors that import what stands behind them when it is first asked for, by ``__getattr__`` (PEP 562)."""

import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def later(package: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names stand below ``if TYPE_CHECKING``, told there once.

    Whoever asks for a name gets it from its module, which is imported then: a process loads what it uses of a room.

    Args:
        package: Its ``__name__``.

    Raises:
        ValueError: On first use: a name is that of the module it is in, which stands in its place once imported.

    >>> asked = later("loopwright.gateway")
    >>> asked("salvage_spools").__module__
    'loopwright.gateway.log.salvage'
    >>> asked("nothing")
    Traceback (most recent call last):
    ...
    AttributeError: module 'loopwright.gateway' has no attribute 'nothing'
    """

    def find(name: str) -> Any:
        home, named = homes(package).get(name, ("", ""))
        if not home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(home)
        try:
            # A module of this package is imported by its name: asking the package for it would ask this door again.
            found = import_module(f"{home}.{named}") if home == package else getattr(module, named)
        except AttributeError:
            found = import_module(f"{home}.{named}")  # a module of a package that nobody has imported yet
        setattr(sys.modules[package], name, found)
        return found

    return find


@cache
def homes(package: str) -> dict[str, tuple[str, str]]:
    """Return what a front door offers: name -> (module, name there); what is a module itself has its package's."""
    found = {name: (home, named) for home, named, name in _offered(package)}
    if hidden := [name for name, (home, _) in found.items() if home == f"{package}.{name}"]:
        raise ValueError(f"{package}: a name in a front door cannot be that of its module: {', '.join(hidden)}")
    return found


def _offered(package: str) -> Iterator[tuple[str, str, str]]:
    told = [block for block in ast.parse(_source(package)).body if isinstance(block, ast.If)]
    inner = [each for block in told if ast.unparse(block.test) == "TYPE_CHECKING" for each in block.body]
    for imported in (each for each in inner if isinstance(each, ast.ImportFrom) and each.module is not None):
        yield from ((str(imported.module), alias.name, alias.asname or alias.name) for alias in imported.names)


def _source(package: str) -> str:
    spec = find_spec(package)
    source = spec.loader.get_source(package) if spec is not None and spec.loader is not None else None  # type: ignore[attr-defined]
    if source is None:
        raise ImportError(f"{package} came without its source, which says what its front door offers")
    return str(source)
