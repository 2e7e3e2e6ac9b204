"""What is named a digest holds nothing else, wherever it comes in."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import VERBS


def fields_of(kind: inspect.Type, path: str, seen: set[type]) -> Iterator[tuple[str, inspect.StrType]]:
    """Yield every text of a type, with where it stands."""
    if isinstance(kind, inspect.StrType):
        yield path, kind
    elif isinstance(kind, inspect.StructType) and kind.cls not in seen:
        seen.add(kind.cls)
        for field in kind.fields:
            yield from fields_of(field.type, f"{kind.cls.__name__}.{field.encode_name}", seen)
    elif isinstance(kind, inspect.UnionType):
        for inner in kind.types:
            yield from fields_of(inner, path, seen)
    elif isinstance(kind, inspect.DictType):
        yield from fields_of(kind.value_type, f"{path}[]", seen)
    elif isinstance(kind, inspect.CollectionType):
        yield from fields_of(kind.item_type, f"{path}[]", seen)


def test_every_digest_on_the_wire_is_checked() -> None:
    """A digest becomes a file's name at the other end."""
    seen: set[type] = set()
    loose = [
        path
        for verb in VERBS.values()
        for name in verb.parameters
        for path, kind in fields_of(inspect.type_info(verb.types[name]), f"{verb.name}({name})", seen)
        if path.rstrip("[])").endswith("digest") and "[0-9a-f]{64}" not in (kind.pattern or "")
    ]
    assert loose == []
    assert CodeRef in seen


@pytest.mark.parametrize(
    "digest", ["", "0" * 63, "0" * 65, "A" * 64, "/../../victim", "0" * 64 + "\n", "../" + "0" * 61]
)
def test_what_is_no_digest_is_refused(digest: str) -> None:
    document: dict[str, Any] = {"digest": digest, "module": "m", "qualname": "f", "function_digest": "0" * 64}
    with pytest.raises(InvalidInput, match="64 hexadecimal letters"):
        convert(document, CodeRef)
    assert convert({**document, "digest": "0" * 64}, CodeRef) == msgspec.convert(
        {**document, "digest": "0" * 64}, CodeRef
    )
