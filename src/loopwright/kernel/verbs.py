"""Verbs and queries: the decorators that record what a function may do and who may call it.

The decorated function stays plain; governance checks and dispatches, server and client are generated from the record.
"""

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec

F = TypeVar("F", bound=Callable[..., Any])


class Role(Enum):
    """What an actor may do in a project, weakest first."""

    VIEWER = "viewer"
    EDITOR = "editor"
    APPROVER = "approver"
    ADMIN = "admin"
    SERVICE = "service"


Surface = Literal["public", "internal"]

Life = Literal["open", "closed", "deleted"]
"""What a project is: open; closed, where nothing is changed any more; deleted, where rows are being removed."""

Part = Literal["gateway", "worker", "job"]
"""A part of the platform that calls the server under a credential of its own."""

SERVER_ALONE: tuple[Part, ...] = ()
"""Of an internal verb that only the server itself calls: its timers, its reactions, other verbs."""

Count = Annotated[int, msgspec.Meta(ge=0)]
"""A number of rows that a caller asks for; below zero means "all" to SQLite."""

EVERY_PROJECT = "*"
"""A grant on this name holds in every project."""


class Verb(msgspec.Struct, frozen=True):
    """Record of one verb or query.

    ``role`` is the least role that may call it; ``internal`` ones are for service tokens alone. ``is_query`` promises
    no change. ``is_operation`` marks a story of the server that needs more than one transaction. ``keeps_answer`` is
    False where the answer holds a secret, which no row may keep. ``reads_log`` asks for the events of every commit
    before it, also of those that are not sealed yet. ``parts`` are those of the platform that call it under a
    credential of their own. ``is_above_projects`` marks what answers or changes things of every project: it is called
    in ``_system``, where nobody has a role whose role is in one project. ``lasts`` is the last state of its project in
    which it changes anything, and queries answer in all of them: ``open`` for every change, a person's or the
    platform's own; ``closed`` for what records what had happened before, or removes what was to go; ``deleted`` for
    what ends things.
    """

    name: str
    function: Callable[..., Any]
    role: Role
    is_query: bool
    surface: Surface
    changes: type | None
    parameters: dict[str, inspect.Parameter]
    types: dict[str, Any]
    is_operation: bool = False
    keeps_answer: bool = True
    reads_log: bool = False
    parts: tuple[Part, ...] = ()
    is_above_projects: bool = False
    lasts: Life = "open"

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


VERBS: dict[str, Verb] = {}
"""Every verb and query by name, filled as rooms are imported."""

_BY_FUNCTION: dict[Callable[..., Any], Verb] = {}


def verb_of(function: Callable[..., Any]) -> Verb:
    """Return the record of a decorated function: a call names the function, the wire carries the verb's name.

    Raises:
        TypeError: The function is neither verb, query nor operation.
    """
    record = _BY_FUNCTION.get(function)
    if record is None:
        raise TypeError(f"{function.__module__}.{function.__qualname__} is no verb, query or operation")
    return record


def _record(
    name: str, role: Role, is_query: bool, surface: Surface, changes: type | None, **marks: Any
) -> Callable[[F], F]:
    def keep(function: F) -> F:
        if name in VERBS and VERBS[name].function.__qualname__ != function.__qualname__:
            raise RuntimeError(f"two verbs are named {name}")
        signature = inspect.signature(function)
        parameters = {p.name: p for p in list(signature.parameters.values())[1:]}
        types = get_type_hints(function, include_extras=True)
        record = Verb(name, function, role, is_query, surface, changes, parameters, types, **marks)
        VERBS[name] = _BY_FUNCTION[function] = record
        return function

    return keep


def verb(
    name: str,
    *,
    changes: type,
    role: Role = Role.EDITOR,
    internal: bool = False,
    keeps_answer: bool = True,
    parts: tuple[Part, ...] | None = None,
    above_projects: bool = False,
    lasts: Life = "open",
) -> Callable[[F], F]:
    """Mark ``function(tx, *, ...)`` as a verb.

    Args:
        name: ``room.verb``, such as ``registry.set_alias``.
        changes: The struct whose rows it changes.
        role: The least role that may call it.
        internal: True if only service tokens may call it.
        keeps_answer: False if the answer holds a secret; an idempotency key then keeps only that it was given.
        parts: Parts of the platform that call it; an internal verb is for jobs where this is not said.
        above_projects: True if it is called in ``_system`` only.
        lasts: The last state of its project in which it may be called.
    """
    surface: Surface = "internal" if internal else "public"
    marks: dict[str, Any] = {"parts": _parts(parts, internal=internal), "is_above_projects": above_projects}
    marks |= {"keeps_answer": keeps_answer, "lasts": lasts}
    return _record(name, Role.SERVICE if internal else role, False, surface, changes, **marks)


def query(
    name: str,
    *,
    role: Role = Role.VIEWER,
    internal: bool = False,
    reads_log: bool = False,
    parts: tuple[Part, ...] | None = None,
    above_projects: bool = False,
) -> Callable[[F], F]:
    """Mark ``function(tx, *, ...)`` as a read-only query.

    Args:
        name: ``room.query``, such as ``registry.versions``.
        role: The least role that may call it.
        internal: True if only service tokens may call it.
        reads_log: True if it answers from the event log, which must hold what was committed before the call.
        parts: Parts of the platform that call it; an internal query is for jobs where this is not said.
        above_projects: True if it is called in ``_system`` only.
    """
    surface: Surface = "internal" if internal else "public"
    marks: dict[str, Any] = {"parts": _parts(parts, internal=internal), "is_above_projects": above_projects}
    return _record(name, Role.SERVICE if internal else role, True, surface, None, reads_log=reads_log, **marks)


def _parts(named: tuple[Part, ...] | None, *, internal: bool) -> tuple[Part, ...]:
    return named if named is not None else ("job",) if internal else ()


def operation(name: str, *, role: Role = Role.EDITOR) -> Callable[[F], F]:
    """Mark ``function(context, *, ...)`` as an operation: called like a verb, run by the server outside a transaction.

    For what reads blobs or waits for jobs, such as ``loop.why`` and ``clock.advance``. It changes rows only by verbs.
    """
    return _record(name, role, False, "public", None, is_operation=True)
