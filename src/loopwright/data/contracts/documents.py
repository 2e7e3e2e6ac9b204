"""Documents of others, YAML or JSON, read as values alone: of bounded size and depth, without tags; and YAML written.

YAML is read as its version 1.2 has it: ``no`` and ``2024-01-31`` are texts.
"""

import json
import re
from typing import Any, ClassVar

import yaml

from loopwright.kernel.bounds import first_repeated
from loopwright.kernel.errors import InvalidInput, TooLarge, shorten

MOST_BYTES = 2_000_000
MOST_PARTS = 200_000
"""Values, lists and mappings of a document, those counted again that it repeats by name."""
_MOST_LETTERS = 10_000_000
"""Of all values, counted so too."""
MOST_DEPTH = 30
_FIELD = "file"
_BREAKS = re.compile("[\x85\u2028\u2029]")
"""What one version of YAML takes for the end of a line, and the other does not."""
_CORE = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
"""What a plain word means, by the core schema of YAML 1.2, and letters that it may begin with."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes what either version of YAML would read as something else than a text."""

    def ignore_aliases(self, _value: Any) -> bool:
        return True

    def represent_str(self, text: str) -> Any:
        style = '"' if _BREAKS.search(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
for _name, (_pattern, _first) in _CORE.items():
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first)


def read_document(body: bytes) -> Any:
    """Return what stands in a YAML or JSON file.

    Raises:
        InvalidInput: It is neither, names a key twice, has tags or several documents, or refers to itself.
        TooLarge: It is longer, deeper or has more parts than such files have.
    """
    if len(body) > MOST_BYTES:
        _refuse_size(f"{len(body):,} bytes", f"at most {MOST_BYTES:,} bytes")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("this is no text", field=_FIELD, rule="YAML or JSON in UTF-8") from None
    try:
        return _read_json(text) if text.lstrip()[:1] in ("{", "[") else _read_yaml(text)
    except yaml.YAMLError as error:
        raise _misread("YAML", _tell(error)) from None
    except RecursionError:
        raise TooLarge("this is nested too deep", field=_FIELD, rule=f"at most {MOST_DEPTH} deep") from None
    except (ValueError, OverflowError) as error:
        raise _misread("YAML or JSON", str(error)) from None


def write_yaml(document: Any) -> str:
    """Return a document of dicts, lists and scalars as YAML, in the order of its keys."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _read_json(text: str) -> Any:
    document = json.loads(text, object_pairs_hook=_once)
    level, parts = [document], 0
    for _ in range(MOST_DEPTH):
        parts += len(level)
        if parts > MOST_PARTS:
            _refuse_size(f"more than {MOST_PARTS:,} values", f"at most {MOST_PARTS:,} values")
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise RecursionError
    return document


def _inside(part: Any) -> list[Any]:
    return list(part.values()) if isinstance(part, dict) else part if isinstance(part, list) else []


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_repeated([name for name, _ in pairs], "an object")
    return dict(pairs)


def _refuse_repeated(names: list[str], place: str) -> None:
    if (twice := first_repeated(names)) is not None:
        raise InvalidInput("a key stands twice", field=f"{_FIELD}, {place}", value=twice, rule="each key once")


def _read_yaml(text: str) -> Any:
    size = _Size()
    for event in yaml.parse(text, Loader=_Loader):
        size.add(event)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        _check_keys(node)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _check_keys(root: Any) -> None:
    """Refuse mappings that name a key twice, before what they take over of others is among their keys."""
    seen, ahead = set(), [root]
    while ahead:
        node = ahead.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            _refuse_repeated(names, f"line {node.start_mark.line + 1}")
            ahead += [value for _, value in node.value]
        else:
            ahead += node.value


class _Size:
    """Counts what a document would hold if all that it repeats by name were written out."""

    def __init__(self) -> None:
        self._parts = self._letters = self._documents = 0
        self._open: list[tuple[str | None, int, int]] = []
        self._named: dict[str, tuple[int, int]] = {}

    def add(self, event: Any) -> None:
        if getattr(event, "tag", None) is not None:
            self._refuse(event, "a tag stands here", event.tag, "values without tags")
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "a second document begins here", "---", "one document a file")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._named:
                self._refuse(event, "this refers to what holds it", event.anchor, "names of what stands before")
            self._grow(*self._named[event.anchor])
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self._parts, self._letters))
            self._grow(1, 0)
            if len(self._open) > MOST_DEPTH:
                raise RecursionError
        elif isinstance(event, yaml.CollectionEndEvent):
            self._name(*self._open.pop())
        elif isinstance(event, yaml.ScalarEvent):
            before = self._parts, self._letters
            self._grow(1, len(event.value))
            self._name(event.anchor, *before)

    def _name(self, anchor: str | None, parts: int, letters: int) -> None:
        if anchor is not None:
            self._named[anchor] = self._parts - parts, self._letters - letters

    def _grow(self, parts: int, letters: int) -> None:
        self._parts += parts
        self._letters += letters
        if self._parts > MOST_PARTS or self._letters > _MOST_LETTERS:
            rule = f"at most {MOST_PARTS:,} values, with what is repeated by name"
            _refuse_size(f"more than {MOST_PARTS:,} values, or very long ones", rule)

    def _refuse(self, event: Any, what: str, value: str, rule: str) -> None:
        raise InvalidInput(what, field=f"{_FIELD}, line {event.start_mark.line + 1}", value=value, rule=rule)


def _refuse_size(value: str, rule: str) -> None:
    next_step = "take apart what tells of several tables"
    raise TooLarge("no contract is so large", field=_FIELD, value=value, rule=rule, next_step=next_step)


def _misread(kind: str, why: str) -> InvalidInput:
    return InvalidInput(f"this cannot be read as {kind}", field=_FIELD, rule=shorten(" ".join(why.split()), 300))


def _tell(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{place}{getattr(error, 'problem', None) or error}"
