"""ONNX files, read as far as it takes to see that they point to no other file and call no foreign operator.

An ONNX file is a Protocol Buffers message; a weight may say "my bytes are in that file", and the runtime then opens it.
Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator

from loopwright.kernel.errors import InvalidInput

DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml"})
"""Operators of ONNX itself, which compute and nothing else; a runtime's own may read files or call programs."""
MOST_DEPTH = 32
MOST_FIELDS = 20_000_000
_ORT_MARK = slice(4, 8)
_LARGEST_TAG = 2**32 - 1
"""Readers drop the bits above, and would take a field of a larger number for another one."""

_NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "operator_set", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 9: "operator_set", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse_tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse_tensor", 23: "sparse_tensor"},
    "sparse_tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "operator_set": {},
}
"""Which fields of a message hold further messages that matter."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DOMAIN = {"node": 7, "operator_set": 1, "function": 10}


def check_graph(body: bytes, field: str) -> None:
    """Refuse a file that reaches beyond itself.

    Raises:
        InvalidInput: It keeps data in other files, names operators that are not ONNX's own, or is no ONNX file.
    """
    if body[_ORT_MARK] == b"ORTM":
        raise InvalidInput(
            "this is onnxruntime's own format", field=field, rule="an ONNX file", next_step="export ONNX"
        )
    try:
        _check("model", memoryview(body), 0, _Budget(), field)
    except (IndexError, ValueError) as error:
        raise InvalidInput("this is no ONNX model", field=field, value=str(error)) from None


class _Budget:
    """How many fields may still be read: a small file can hold very many."""

    left = MOST_FIELDS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {MOST_FIELDS} fields")


def _check(kind: str, message: memoryview, depth: int, budget: _Budget, field: str) -> None:
    if depth > MOST_DEPTH:
        raise ValueError(f"nested deeper than {MOST_DEPTH}")
    for number, value in _fields(message, budget):
        if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
            raise InvalidInput(
                "this model keeps its weights in other files",
                field=field,
                rule="one file with everything in it",
                next_step="save it with onnx.save(model, path, save_as_external_data=False)",
            )
        if isinstance(value, int):
            continue
        if number == _DOMAIN.get(kind) and bytes(value) not in DOMAINS:
            raise InvalidInput(
                "this model uses operators that are not ONNX's own",
                field=field,
                value=bytes(value).decode("utf-8", "replace"),
                rule=f"one of {', '.join(sorted(name.decode() for name in DOMAINS if name))}",
            )
        if number in _NESTED[kind]:
            _check(_NESTED[kind][number], value, depth + 1, budget, field)


def _fields(message: memoryview, budget: _Budget) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message: its number, and an integer or the bytes.

    Raises:
        ValueError: It breaks the format.
        IndexError: It ends too early.
    """
    at = 0
    while at < len(message):
        budget.spend()
        tag, at = _varint(message, at)
        if tag > _LARGEST_TAG:
            raise ValueError("a field's number is too large")
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire in (1, 5):
            size = 8 if wire == 1 else 4
        elif wire == 2:
            size, at = _varint(message, at)
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(message):
            raise IndexError("ends too early")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
