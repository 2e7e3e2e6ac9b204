"""Texts and documents of others made so that every database takes them and every caller may send them.

What somebody's code raises or a row holds must be told however it reads: a NUL is in no text of PostgreSQL, a lone
surrogate in no UTF-8, and what is longer than anything of its kind is refused.
"""

from typing import Any

MOST_LETTERS = 10_000
"""Of a text that tells of something, such as an error: a page shows it, and it is kept more than once."""
_DEEPEST = 50
"""Levels of a document; arguments of calls may have twice as many."""
_LEAST, _MOST = -(2**63), 2**63 - 1


def storable_text(text: str, most: int = MOST_LETTERS) -> str:
    r"""Return a text with NULs and lone surrogates shown; of a long one both ends, and how much stood between them.

    Args:
        text: Any.
        most: Letters that are kept.

    >>> print(storable_text("caf" + chr(0xdce9) + chr(0)))
    caf\udce9\x00
    >>> storable_text("first " + "x" * 5000 + " last", 12)
    'first  … 4,999 letters left out … x last'
    """
    shown = str.replace(text, "\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    if len(shown) <= most:
        return shown
    tail = most // 2
    head = most - tail
    return f"{shown[:head]} … {len(shown) - most:,} letters left out … {shown[len(shown) - tail :]}"


def storable(document: Any, most: int = MOST_LETTERS) -> Any:
    r"""Return a document as JSON of what can be stored: each text as ``storable_text``, what is no JSON as its words.

    Args:
        document: Any; structs are dicts in the answer.
        most: Letters that are kept of each text.

    >>> storable({"a" + chr(0): [1, 2**64, {2}], "b": object})
    {'a\\x00': [1, '18446744073709551616', [2]], 'b': "<class 'object'>"}
    """
    return _storable(document, most, 0)


def words_of(value: object) -> str:
    """Return what a value or an error of others says of itself, even where its own code fails over that."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - it is code of others
        return f"<a {type(value).__name__} that cannot be told: {type(error).__name__}>"


def _fields_of(struct: Any) -> dict[str, Any]:
    """Return the fields of a struct by the names that JSON has for them, with what tells it apart from others."""
    config = struct.__struct_config__
    tag = {} if config.tag_field is None else {config.tag_field: config.tag}
    names = zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True)
    return {**tag, **{told: getattr(struct, name) for told, name in names}}


def _storable(document: Any, most: int, depth: int) -> Any:
    if document is None or isinstance(document, bool | float):
        return float(document) if isinstance(document, float) else document
    if isinstance(document, str):
        return storable_text(document, most)
    if isinstance(document, int):
        return int(document) if _LEAST <= document <= _MOST else storable_text(words_of(document), most)
    if depth >= _DEEPEST:
        return "…"
    if hasattr(type(document), "__struct_config__"):  # errors load this file, and `--help` no msgspec
        document = _fields_of(document)
    if isinstance(document, dict):
        return {
            storable_text(words_of(key), most): _storable(value, most, depth + 1) for key, value in document.items()
        }
    if isinstance(document, list | tuple | set | frozenset):
        return [_storable(each, most, depth + 1) for each in document]
    if type(document).__module__ == "numpy" and getattr(document, "ndim", None) == 0:
        return _storable(document.item(), most, depth + 1)
    return storable_text(words_of(document), most)
