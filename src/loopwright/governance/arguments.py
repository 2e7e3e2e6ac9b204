"""Arguments of a call: from JSON or builtins to the types that the verb asks for."""

from collections.abc import Callable
from typing import Any

import msgspec

from loopwright.kernel.documents import convert, from_json
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import Verb

MOST_LETTERS = 500
"""Of a text that names something."""
MOST_LETTERS_OF_PROSE = 20_000
MOST_LETTERS_INSIDE = 250_000
"""Of a text somewhere inside an argument, such as a command or a cell of a table."""
_PROSE = {"reason", "force_reason", "forced_reason", "cause", "message", "why", "filter"}
_DEEPEST = 100


def check_length(name: str, given: Any, depth: int = 0) -> None:
    """Refuse an argument with a text that is longer than anything of its kind; what is kept is shown again and again.

    Raises:
        InvalidInput: There is one, or the argument is nested too deep.
    """
    if isinstance(given, str):
        most = MOST_LETTERS_INSIDE if depth else MOST_LETTERS_OF_PROSE if name in _PROSE else MOST_LETTERS
        if len(given) > most:
            raise InvalidInput("this text is too long", field=name, value=given, rule=f"at most {most} letters")
    elif isinstance(given, dict | list):
        if depth > _DEEPEST:
            raise InvalidInput("this is nested too deep", field=name, rule=f"at most {_DEEPEST} levels")
        for each in given if isinstance(given, list) else (*given, *given.values()):
            check_length(name, each, depth + 1)


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
        check_length(name, given)
        values[name] = convert(given, called.types[name], field=name)
        if name == "limit" and values[name] < 0:  # "all" to SQLite
            raise InvalidInput("a limit is not negative", field=name, value=given, rule="0 or more")
    for name, parameter in called.parameters.items():
        if name not in values and parameter.default is parameter.empty:
            raise InvalidInput(f"{called.name} needs {name}", field=name, rule="required")
    return values


def read_arguments(called: Verb, body: bytes) -> dict[str, Any]:
    """Return the arguments that a body of JSON holds; an empty one holds none.

    Raises:
        InvalidInput: It is not JSON, or an argument is unknown, missing or of another type; names it.
    """
    decoder = _decoder(called)
    if decoder is not None and body:
        try:
            given = decoder.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass  # read slowly, the body says what is wrong with it
        else:
            values = {name: getattr(given, name) for name in given.__struct_fields__}
            values = {name: value for name, value in values.items() if value is not msgspec.UNSET}
            if values.get("limit", 0) >= 0 and not _may_be_long(values, len(body)):
                return values
    return check_arguments(called, from_json(body or b"{}", dict[str, Any]))


def _may_be_long(values: dict[str, Any], size: int) -> bool:
    """Say whether a body of so many bytes may hold a text that is too long, which is then looked for."""
    if size <= MOST_LETTERS:
        return False
    return size > MOST_LETTERS_INSIDE or any(type(each) is str and len(each) > MOST_LETTERS for each in values.values())


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
