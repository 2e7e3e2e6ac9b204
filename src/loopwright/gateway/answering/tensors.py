"""Tensors of the Open Inference Protocol V2: to rows, from predictions, and what a release says of its own."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from loopwright.features import plan_inputs
from loopwright.gateway.answering.router import Router
from loopwright.gateway.answering.runtime import Prediction, champion_place
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.version import VERSION
from loopwright.serving import Release

_INTEGERS = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": math.inf}
"""The largest value of each."""
_DATATYPES = {*_INTEGERS, *_FLOATS, "BOOL", "BYTES"}
_OF_KIND = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "text": "BYTES"}
_DEEPEST = 16


class Tensor(msgspec.Struct):
    """One input tensor, row-major, flat or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class WantedOutput(msgspec.Struct):
    """One output asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """Body of an infer request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[WantedOutput] = []


def server_metadata() -> dict[str, Any]:
    """Return name, version and extensions of this server."""
    return {"name": "loopwright", "version": VERSION, "extensions": []}


def model_metadata(name: str, release: Release, asked: int) -> dict[str, Any]:
    """Return a model's versions, inputs and outputs.

    Args:
        name: As asked for.
        release: What serves it.
        asked: Place of the variant whose inputs are told.
    """
    variant = release.variants[asked]
    datatypes = _datatypes(release, asked)
    return {
        "name": name,
        "versions": [str(release.variants[place].version) for place in Router(release.variants).live],
        "platform": f"loopwright_{variant.flavour}",
        "inputs": [
            {"name": field, "datatype": datatypes.get(field, "BYTES"), "shape": [-1]}
            for field in fields_of(release, asked)
        ],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1, *width]}
            for output, datatype, width in _outputs_of(release)
        ],
    }


def _datatypes(release: Release, asked: int) -> dict[str, str]:
    """Return what a request's fields hold: as the plan reads them where there is one, else as the model does."""
    variant = release.variants[asked]
    datatypes = {column.name: _OF_KIND[column.kind] for column in variant.signature.inputs}
    plan = release.plans.get(variant.plan)
    if plan is not None and plan.datasets:
        datatypes |= {name: _of_dtype(dtype) for name, dtype in plan.datasets[0].dtypes.items()}
        datatypes[plan.time] = "BYTES"
    return datatypes


def _of_dtype(dtype: str) -> str:
    """Return the datatype of tensors for a column: moments are text.

    >>> [_of_dtype(dtype) for dtype in ("Int32", "UInt8", "Float32", "Boolean", "Datetime(us, UTC)", "String")]
    ['INT64', 'INT64', 'FP64', 'BOOL', 'BYTES', 'BYTES']
    """
    if dtype.startswith(("Int", "UInt")):
        return "INT64"
    if dtype.startswith(("Float", "Decimal")):
        return "FP64"
    return "BOOL" if dtype == "Boolean" else "BYTES"


def fields_of(release: Release, place: int) -> list[str]:
    """Return the fields that a variant's requests carry: its plan's, or the model's own columns."""
    variant = release.variants[place]
    if variant.plan:
        return plan_inputs(release.plans[variant.plan])
    return [column.name for column in variant.signature.inputs]


def _outputs_of(release: Release) -> list[tuple[str, str, list[int]]]:
    if release.task != "multiclass":
        return [("score", "FP64", []), ("prediction_id", "BYTES", [])]
    classes = len(release.variants[0].signature.classes)
    return [("score", "FP64", [classes]), ("class", "BYTES", []), ("prediction_id", "BYTES", [])]


def find_version(release: Release, version: str | None) -> int | None:
    """Return the place of the live variant with this model version; None if none was asked for.

    Raises:
        NotFound: No live variant has it.
    """
    if version is None:
        return None
    live = {str(release.variants[place].version): place for place in Router(release.variants).live}
    if version not in live:
        raise NotFound(f"version {version} is not live here", value=version, rule=f"one of {', '.join(live)}")
    return live[version]


def to_rows(request: InferRequest, release: Release, forced: int | None) -> list[dict[str, Any]]:
    """Turn tensors into rows: one tensor a field, or one 2-D tensor of numbers in the order of the fields.

    Args:
        request: What came.
        release: What serves it.
        forced: Place of the variant that was asked for; None for what the champion asks for.

    Raises:
        InvalidInput: Names, shapes, datatypes or values do not fit.
    """
    if not request.inputs:
        raise InvalidInput("there are no inputs", field="inputs", rule="at least one tensor")
    asked = champion_place(release) if forced is None else forced
    columns = {column.name for column in release.variants[asked].signature.inputs}
    if len(request.inputs) == 1 and len(request.inputs[0].shape) == 2 and request.inputs[0].name not in columns:
        return _from_matrix(request.inputs[0], fields_of(release, asked))
    found: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in found:
            raise InvalidInput(f"input {tensor.name} is given twice", field=tensor.name)
        if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
            raise _wrong_shape(tensor, "[n] or [n, 1]")
        found[tensor.name] = _values(tensor)
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidInput("inputs differ in length", field="inputs", value=lengths, rule="one length")
    names = list(found)
    return [dict(zip(names, values, strict=True)) for values in zip(*found.values(), strict=True)]


def _from_matrix(tensor: Tensor, names: list[str]) -> list[dict[str, Any]]:
    width = tensor.shape[1]
    if width != len(names):
        raise _wrong_shape(tensor, f"[n, {len(names)}], the columns {', '.join(names)}")
    values = _values(tensor)
    return [dict(zip(names, values[at : at + width], strict=True)) for at in range(0, len(values), width)]


def _values(tensor: Tensor) -> list[Any]:
    if tensor.datatype not in _DATATYPES:
        raise InvalidInput(
            f"input {tensor.name} has an unknown datatype",
            field=f"{tensor.name}.datatype",
            value=tensor.datatype,
            rule=", ".join(sorted(_DATATYPES)),
        )
    if any(size < 0 for size in tensor.shape):
        raise _wrong_shape(tensor, "no negative sizes")
    values = _flat(tensor.data, tensor.name)
    if math.prod(tensor.shape) != len(values):
        raise _wrong_shape(tensor, f"{math.prod(tensor.shape)} values, found {len(values)}")
    if not values:
        raise _wrong_shape(tensor, "at least one row")
    fits = _check_of(tensor.datatype)
    for index, value in enumerate(values):
        if not fits(value):
            raise InvalidInput(
                f"input {tensor.name} holds a value that is no {tensor.datatype}",
                field=f"{tensor.name}.data[{index}]",
                value=value,
                rule=tensor.datatype,
            )
    return values


def _flat(values: list[Any], name: str, depth: int = 0) -> list[Any]:
    if not any(isinstance(value, list) for value in values):
        return values
    if depth > _DEEPEST or not all(isinstance(value, list) for value in values):
        raise InvalidInput(
            f"input {name} is nested unevenly", field=f"{name}.data", rule="flat, or nested as its shape"
        )
    return _flat([inner for value in values for inner in value], name, depth + 1)


def _check_of(datatype: str) -> Callable[[Any], bool]:
    if datatype == "BYTES":
        return lambda value: value is None or isinstance(value, str)
    if datatype == "BOOL":
        return lambda value: value is None or isinstance(value, bool)
    if datatype in _FLOATS:
        most = _FLOATS[datatype]
        return lambda value: value is None or (type(value) in (int, float) and -most <= value <= most)
    sign, bits = _INTEGERS[datatype]
    low, high = (0, 1 << bits) if sign else (-(1 << (bits - 1)), 1 << (bits - 1))
    return lambda value: value is None or (_is_whole(value) and low <= value < high)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _wrong_shape(tensor: Tensor, rule: str) -> InvalidInput:
    return InvalidInput(
        f"input {tensor.name} has the wrong shape", field=f"{tensor.name}.shape", value=tensor.shape, rule=rule
    )


def to_answer(name: str, request: InferRequest, release: Release, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return the infer response; ``model_version`` where one version answered every row.

    Raises:
        InvalidInput: An output was asked for that is not there.
    """
    wanted = check_outputs(request, release)
    versions = {prediction.model_version for prediction in predictions}
    answer: dict[str, Any] = {"model_name": name, "id": request.id or ""}
    if len(versions) == 1:
        answer["model_version"] = str(versions.pop())
    answer["outputs"] = [_output(output, datatype, width, predictions) for output, datatype, width in wanted]
    return answer


def check_outputs(request: InferRequest, release: Release) -> list[tuple[str, str, list[int]]]:
    """Return the outputs to answer, those asked for or all.

    Raises:
        InvalidInput: An output was asked for that is not there.
    """
    known = {output[0]: output for output in _outputs_of(release)}
    for wanted in request.outputs:
        if wanted.name not in known:
            raise InvalidInput(f"there is no output {wanted.name}", field="outputs", rule=f"one of {', '.join(known)}")
    return [known[wanted.name] for wanted in request.outputs] or list(known.values())


def _output(name: str, datatype: str, width: list[int], predictions: Sequence[Prediction]) -> dict[str, Any]:
    values: list[Any]
    if name == "prediction_id":
        values = [prediction.prediction_id for prediction in predictions]
    elif name == "class":
        values = [prediction.answer["class"] for prediction in predictions]
    elif width:
        values = [share for prediction in predictions for share in prediction.answer["probabilities"].values()]
    else:
        values = [prediction.score for prediction in predictions]
    return {"name": name, "datatype": datatype, "shape": [len(predictions), *width], "data": values}
