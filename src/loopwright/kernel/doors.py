"""Front doors that import what stands behind them when it is first asked for, by ``__getattr__`` (PEP 562)."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def later(package: str, homes: Mapping[str, Collection[str]], modules: Collection[str] = ()) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package; type checkers are told the same names under ``TYPE_CHECKING``.

    Args:
        package: Its ``__name__``.
        homes: Module below the package -> names that it defines.
        modules: Modules below the package that are named themselves.

    Raises:
        ValueError: A name is that of the module it is in: once that is imported it stands in the name's place.

    >>> asked = later("loopwright.kernel", {"errors": ["NotFound"]}, ["clock"])
    >>> asked("NotFound").__module__, asked("clock").__name__
    ('loopwright.kernel.errors', 'loopwright.kernel.clock')
    >>> asked("nothing")
    Traceback (most recent call last):
    ...
    AttributeError: module 'loopwright.kernel' has no attribute 'nothing'
    """
    if twice := [module for module, names in homes.items() if module in names]:
        raise ValueError(f"{package}: a name in a front door cannot be that of its module: {', '.join(twice)}")
    home_of = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name in home_of:
            return getattr(import_module(f"{package}.{home_of[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
