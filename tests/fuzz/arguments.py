"""Arguments of verbs by their types: valid ones are built, and those that were taken are held against them again."""

import json
import math
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.verbs import Verb

_BY_VALUES: list[tuple[str, list[Any]]] = [
    ("deployment model service name experiment stream", ["late", "free", "asked"]),
    ("dataset view pipeline", ["flights", "recent", "fit", "nightly"]),
    ("version number before after dataset_version limit depth position", [1, 2, 3]),
    ("start_at end_at at to due_at known_by", [0, DAY_US, 15_768 * DAY_US]),
    ("ref subject", ["model:late/3", "deployment:late", "flights/dataset:flights/1"]),
    ("expires_in keep grace", ["30d", "24h"]),
]
KNOWN: dict[str, list[Any]] = {
    **{name: values for names, values in _BY_VALUES for name in names.split()},
    "kind": ["view", "deployment", "predictions", "loop.export"],
    "task": ["binary"],
    "zone": ["UTC", "Europe/Berlin"],
    "alias": ["champion", "favourite"],
    "worker": ["w"],
    "gateway": ["g"],
    "address": ["http://127.0.0.1:9"],
    "flavour": ["constant"],
    "filter": ["metrics.loss < 1"],
    "key": ["loss"],
    "reason": ["a person wants it"],
    "cause": ["it drifts"],
}
"""Values that mean something in the prepared state, by the name of an argument or a field."""
_WORDS = ["late", "flights", "a", "x.y", "2013-03-01T00:00:00Z", ""]


class Builder:
    """Builds values of a type, from what is known where a name tells.

    Args:
        random_: What is drawn from.
        ids: Ids of what is in the state, by what they are of.
    """

    def __init__(self, random_: random.Random, ids: dict[str, str]) -> None:
        self._random, self._ids = random_, ids

    def arguments(self, called: Verb) -> dict[str, Any]:
        """Return arguments for a verb, those that may be left out at times."""
        return {
            name: self.value(inspect.type_info(called.types[name]), name)
            for name, one in called.parameters.items()
            if one.default is one.empty or self._random.random() < 0.4
        }

    def value(self, kind: inspect.Type, name: str, depth: int = 0) -> Any:
        """Return a value of a type."""
        draw = self._random
        if isinstance(kind, inspect.UnionType):
            return self.value(draw.choice(kind.types), name, depth)
        if isinstance(kind, inspect.IntType | inspect.StrType):
            return self._scalar(kind, name)
        if isinstance(kind, inspect.StructType):
            made = {one.encode_name: one for one in kind.fields if one.required or (depth < 3 and draw.random() < 0.3)}
            tag = {} if kind.tag_field is None else {kind.tag_field: kind.tag}
            return tag | {each: self.value(one.type, one.name, depth + 1) for each, one in made.items()}
        if isinstance(kind, inspect.DictType):
            return {str(self.value(kind.key_type, "", depth)): self.value(kind.value_type, name, depth + 1)}
        if isinstance(kind, inspect.CollectionType):
            return [self.value(kind.item_type, name, depth + 1) for _ in range(draw.randrange(3))]
        if isinstance(kind, inspect.TupleType):
            return [self.value(each, name, depth + 1) for each in kind.item_types]
        return _SIMPLE[type(kind)](draw, kind)

    def _scalar(self, kind: inspect.IntType | inspect.StrType, name: str) -> Any:
        wanted = int if isinstance(kind, inspect.IntType) else str
        ids = list(self._ids.values()) if name.endswith("_id") else []
        known = [each for each in (*ids, *KNOWN.get(name, [])) if type(each) is wanted]
        if isinstance(kind, inspect.StrType) and kind.pattern:
            return "a" * 64
        if known and self._random.random() < 0.9:
            return self._random.choice(known)
        return self._random.choice([0, 1, 7, 1000] if wanted is int else _WORDS)


_SIMPLE: dict[type, Callable[[random.Random, Any], Any]] = {
    inspect.NoneType: lambda draw, kind: None,
    inspect.BoolType: lambda draw, kind: draw.random() < 0.5,
    inspect.FloatType: lambda draw, kind: draw.choice([0.0, 0.5, 30.0, 1]),
    inspect.LiteralType: lambda draw, kind: draw.choice(kind.values),
    inspect.EnumType: lambda draw, kind: draw.choice(list(kind.cls)).value,
    inspect.AnyType: lambda draw, kind: draw.choice([1, "x", 0.5, {"a": 1}, [1], None]),
}


def misfits(called: Verb, args: dict[str, Any]) -> Iterator[str]:
    """Yield what of the arguments a verb should not have taken."""
    for name, given in args.items():
        if name not in called.parameters:
            yield f"{name} is unknown"
            continue
        yield from _misfit(given, inspect.type_info(called.types[name]), name)
        if name == "limit" and given < 0:
            yield "limit is negative"
    for name, one in called.parameters.items():
        if one.default is one.empty and name not in args:
            yield f"{name} is missing"


def _misfit(given: Any, kind: inspect.Type, path: str) -> Iterator[str]:
    if isinstance(kind, inspect.UnionType):
        found = [list(_misfit(given, each, path)) for each in kind.types]
        yield from min(found, key=len) if all(found) else ()
    elif isinstance(kind, inspect.StructType):
        yield from _misfit_of_struct(given, kind, path)
    elif isinstance(kind, inspect.DictType) and isinstance(given, dict):
        for name, each in given.items():
            yield from _misfit(name, inspect.StrType(), f"{path}.{name}")
            yield from _misfit(each, kind.value_type, f"{path}.{name}")
    elif isinstance(kind, inspect.CollectionType) and isinstance(given, list):
        for at, each in enumerate(given):
            yield from _misfit(each, kind.item_type, f"{path}[{at}]")
    elif isinstance(kind, inspect.TupleType) and isinstance(given, list) and len(given) == len(kind.item_types):
        for at, (each, one) in enumerate(zip(given, kind.item_types, strict=True)):
            yield from _misfit(each, one, f"{path}[{at}]")
    elif not _FITS.get(type(kind), lambda given, kind: False)(given, kind):
        yield f"{path} is {given!r:.80}"


def _misfit_of_struct(given: Any, kind: inspect.StructType, path: str) -> Iterator[str]:
    if not isinstance(given, dict):
        yield f"{path} is {given!r:.80}"
        return
    fields = {one.encode_name: one for one in kind.fields}
    yield from (f"{path}.{name} is missing" for name, one in fields.items() if one.required and name not in given)
    if kind.tag_field is not None and given.get(kind.tag_field) != kind.tag:
        yield f"{path}.{kind.tag_field} is {given.get(kind.tag_field)!r:.80}"
    for name, each in given.items():
        if name in fields:
            yield from _misfit(each, fields[name].type, f"{path}.{name}")
        elif kind.forbid_unknown_fields and name != kind.tag_field:
            yield f"{path}.{name} is unknown"


def _is_text(given: Any, kind: inspect.StrType) -> bool:
    if not isinstance(given, str) or "\0" in given:
        return False
    return re.search(kind.pattern, given) is not None if kind.pattern else True


def _is_whole(given: Any, kind: inspect.IntType) -> bool:
    """Say whether it is a whole number of 64 bits; JSON knows one kind of number, so 3.0 is one."""
    if isinstance(given, bool) or not isinstance(given, int | float) or int(given) != given:
        return False
    return -(2**63) <= given < 2**63 and (kind.ge is None or given >= kind.ge) and (kind.gt is None or given > kind.gt)


def _is_number(given: Any, kind: inspect.FloatType) -> bool:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        return False
    return (kind.ge is None or given >= kind.ge) and (kind.gt is None or given > kind.gt)


def _is_plain(given: Any, kind: inspect.Type) -> bool:
    """Say whether a value of any type holds what can be kept: no NUL, and numbers that are some."""
    if isinstance(given, dict | list):
        return all(_is_plain(each, kind) for each in (given if isinstance(given, list) else (*given, *given.values())))
    return "\0" not in given if isinstance(given, str) else not isinstance(given, float) or math.isfinite(given)


_FITS: dict[type, Callable[[Any, Any], bool]] = {
    inspect.NoneType: lambda given, kind: given is None,
    inspect.BoolType: lambda given, kind: isinstance(given, bool),
    inspect.StrType: _is_text,
    inspect.IntType: _is_whole,
    inspect.FloatType: _is_number,
    inspect.LiteralType: lambda given, kind: given in kind.values and not isinstance(given, bool),
    inspect.EnumType: lambda given, kind: given in [each.value for each in kind.cls],
    inspect.AnyType: _is_plain,
}


def read_once(body: bytes) -> Any:
    """Return what a body of JSON says; None where a name stands in it twice, for which of the two counts is not ours.

    Raises:
        ValueError: It is no JSON.
    """
    names: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names.extend(name for name, _ in pairs[: len(pairs) - len(dict(pairs))])
        return dict(pairs)

    # What nobody reads is not looked at either, so bytes that are no text may stand there.
    document = json.loads(body.decode(errors="replace"), object_pairs_hook=note, parse_constant=_refuse)
    return None if names else document


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def plain(document: Any) -> Any:
    """Return a document as it comes over the wire."""
    return msgspec.to_builtins(document)
