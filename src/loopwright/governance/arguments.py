"""Arguments of a call: from JSON or builtins to the types that the verb asks for."""

from collections.abc import Callable, Collection, Iterable
from functools import cache
from itertools import count
from typing import Any, NamedTuple, get_args

import msgspec
from msgspec.inspect import is_struct_type

from loopwright.kernel.documents import convert, from_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import Verb

MOST_LETTERS = 500
"""Of a text that names something."""
MOST_LETTERS_OF_PROSE = 20_000
MOST_LETTERS_INSIDE = 250_000
"""Of a text somewhere inside an argument, such as a command or a cell of a table."""
MOST_ENTRIES = 10_000
"""Of a list or mapping that is an argument of its own: each may be a row, and a query of them all takes its time."""
_MOST_OF: dict[Any, int] = {str: MOST_LETTERS, list: MOST_ENTRIES, dict: MOST_ENTRIES}
_PROSE = {"reason", "force_reason", "forced_reason", "cause", "message", "why", "filter"}
_DOCUMENTS = {"ended", "signature"}
"""Kept as JSON alone, which writes a NUL as six letters: what a step returned, and the levels a model was fitted on."""
_DEEPEST = 100
_NESTED = (dict, list)
_LEAST, _MOST = -(2**63), 2**63 - 1
_ZEROS = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(128)) + bytes(range(128, 256))
"""Turns every digit of a body into a zero."""


def check_content(name: str, given: Any, depth: int = 0) -> None:
    """Refuse an argument that holds what no column does, or a text that is longer than anything of its kind.

    What is kept is shown again and again, and a database of either kind takes the same.

    Raises:
        InvalidInput: There is such a text or number, or the argument is nested too deep.
    """
    if isinstance(given, str):
        most = MOST_LETTERS_INSIDE if depth else MOST_LETTERS_OF_PROSE if name in _PROSE else MOST_LETTERS
        if len(given) > most:
            raise InvalidInput("this text is too long", field=name, value=given, rule=f"at most {most} letters")
        if "\0" in given and not (depth and name in _DOCUMENTS):
            raise InvalidInput("a NUL stands in this text", field=name, value=given, rule="text without NUL")
    elif isinstance(given, int):
        if not _LEAST <= given <= _MOST:
            raise InvalidInput("this number is too large", field=name, value=given, rule="whole numbers of 64 bits")
    elif isinstance(given, dict | list):
        if depth > _DEEPEST:
            raise InvalidInput("this is nested too deep", field=name, rule=f"at most {_DEEPEST} levels")
        for each in given if isinstance(given, list) else (*given, *given.values()):
            check_content(name, each, depth + 1)


def check_fields(called: Verb, args: dict[str, Any], values: dict[str, Any]) -> None:
    """Refuse a field inside an argument that nothing reads: what is misspelt there would be left out in silence.

    Args:
        called: The verb.
        args: What was given, as JSON holds it.
        values: The same with the types the verb asks for.

    Raises:
        InvalidInput: There is such a field; names it.
    """
    for name, value in values.items() if _has_fields(called) else ():
        unread = _find_unread(args[name], value)
        if unread is not None:
            what, hint = f"nothing reads the field {unread.name} here", suggest(unread.name, unread.known)
            raise InvalidInput(what, field=f"{name}{unread.path}", value=unread.value, next_step=hint)


def _has_fields(called: Verb) -> bool:
    """Say whether fields inside arguments are looked at.

    The platform's own calls may say more than this version reads: a gateway may be newer than its server.
    """
    return called.surface != "internal" and any(map(_holds_structs, called.types.values()))


@cache
def _holds_structs(kind: Any) -> bool:
    return is_struct_type(kind) or any(map(_holds_structs, get_args(kind)))


class _Unread(NamedTuple):
    path: str
    name: str
    value: Any
    known: Collection[str]


def _find_unread(given: Any, value: Any) -> _Unread | None:
    """Return the first field that nothing reads. The path is written on the way back: a body may hold many rows."""
    inside: Iterable[tuple[str | int, Any, Any]] = ()
    if isinstance(given, dict) and isinstance(value, msgspec.Struct):
        known = _known_fields(type(value))
        if given.keys() - known.keys():
            unknown = next(name for name in given if name not in known)
            return _Unread(f".{unknown}", unknown, given[unknown], known)
        inside = [(name, inner, getattr(value, known[name])) for name, inner in given.items() if type(inner) in _NESTED]
    elif isinstance(given, dict) and isinstance(value, dict):
        inside = zip(given, given.values(), value.values(), strict=True)
    elif isinstance(given, list) and isinstance(value, (list, tuple)):
        inside = zip(count(), given, value, strict=False)
    for step, inner, read in inside:
        if unread := _find_unread(inner, read):
            return unread._replace(path=f".{step}{unread.path}" if isinstance(step, str) else f"[{step}]{unread.path}")
    return None


@cache
def _known_fields(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the fields of a struct by what JSON calls them, and what tells structs of a union apart."""
    named = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    tag = kind.__struct_config__.tag_field
    return named if tag is None else {**named, tag: tag}


def check_arguments(called: Verb, args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with the types the verb asks for.

    Raises:
        InvalidInput: One is unknown, missing or of another type; names it.
    """
    values = {}
    for name, given in args.items():
        if name not in called.parameters:
            hint = suggest(name, called.parameters)
            raise InvalidInput(f"{called.name} knows no argument {name}", field=name, next_step=hint)
        if called.surface != "internal" and isinstance(given, list | dict) and len(given) > MOST_ENTRIES:
            rule = f"at most {MOST_ENTRIES} entries"
            raise InvalidInput("this has too many entries", field=name, value=len(given), rule=rule)
        check_content(name, given)
        values[name] = convert(given, called.types[name], field=name)
        if name == "limit" and values[name] < 0:  # "all" to SQLite
            raise InvalidInput("a limit is not negative", field=name, value=given, rule="0 or more")
    for name, parameter in called.parameters.items():
        if name not in values and parameter.default is parameter.empty:
            raise InvalidInput(f"{called.name} needs {name}", field=name, rule="required")
    check_fields(called, args, values)
    return values


def read_arguments(called: Verb, body: bytes) -> dict[str, Any]:
    """Return the arguments that a body of JSON holds; an empty one holds none.

    Raises:
        InvalidInput: It is not JSON, or an argument is unknown, missing or of another type; names it.
    """
    values = _read_at_once(called, body)
    return check_arguments(called, from_json(body or b"{}", dict[str, Any])) if values is None else values


def _read_at_once(called: Verb, body: bytes) -> dict[str, Any] | None:
    """Return what a sound body holds; None of another, which is read slowly to say what is wrong with it."""
    decoder = _decoder(called)
    if decoder is None or not body:
        return None
    try:
        given = decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    values = {name: getattr(given, name) for name in given.__struct_fields__}
    values = {name: value for name, value in values.items() if value is not msgspec.UNSET}
    if _may_not_fit(body) or _may_be_long(values, len(body)) or values.get("limit", 0) < 0:
        return None
    if _has_fields(called):
        check_fields(called, from_json(body, dict[str, Any]), values)
    return values


def _may_not_fit(body: bytes) -> bool:
    """Say whether a body may hold a NUL, or a whole number of more than 64 bits, which is then looked for."""
    return rb"\u0000" in body or b"0" * 19 in body.translate(_ZEROS)


def _may_be_long(values: dict[str, Any], size: int) -> bool:
    """Say whether a body of so many bytes may hold a text or a list that is too long, which is then looked for."""
    if size <= MOST_LETTERS:
        return False
    return size > MOST_LETTERS_INSIDE or any(
        len(each) > most for each in values.values() if (most := _MOST_OF.get(type(each)))
    )


_DECODERS: dict[Callable[..., Any], "msgspec.json.Decoder[Any] | None"] = {}


def _decoder(called: Verb) -> "msgspec.json.Decoder[Any] | None":
    """Return what reads a verb's arguments in one go, made when it is first called; None where no struct holds them."""
    if called.function not in _DECODERS:
        _DECODERS[called.function] = _make_decoder(called)
    return _DECODERS[called.function]


def _make_decoder(called: Verb) -> "msgspec.json.Decoder[Any] | None":
    fields: list[Any] = [
        (name, called.types[name])
        if parameter.default is parameter.empty
        else (name, called.types[name] | msgspec.UnsetType, msgspec.UNSET)
        for name, parameter in called.parameters.items()
    ]
    try:
        kind = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
        return msgspec.json.Decoder(kind)
    except (TypeError, ValueError, NameError):
        return None
