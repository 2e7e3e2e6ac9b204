"""What a model's metadata declares is what it takes."""

from typing import Any

import pytest

from loopwright.features import DatasetPushSpec, FeaturePlan, RequestSpec, typed_frame
from loopwright.gateway.answering.tensors import InferRequest, Tensor, model_metadata, to_rows
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import InvalidInput
from loopwright.registry import InputColumn, Signature
from loopwright.serving import RELEASE_SCHEMA, Release, Variant

DTYPES = {
    "seats": "Int32",
    "gates": "UInt8",
    "miles": "Float32",
    "is_wet": "Boolean",
    "carrier": "String",
    "at": "Datetime(us, UTC)",
}
SAMPLES: dict[str, list[Any]] = {
    "FP64": [1.0, 2.5],
    "INT64": [1, 2.0],
    "BOOL": [True, None],
    "BYTES": ["2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"],
}


def release(dtypes: dict[str, str]) -> Release:
    function = CodeRef(digest_bytes(b"code"), "flights", "asked", digest_bytes(b"f"))
    spine = DatasetPushSpec("flights", ["flight_id"], "at", {}, None, dtypes)
    plan = FeaturePlan("late", "at", ["flight_id"], [RequestSpec("asked", list(DTYPES), ["y"], function)], [], [spine])
    signature = Signature([InputColumn("seats", "number"), InputColumn("is_wet", "number")], "binary")
    variant = Variant("champion", "late", 1, "constant", [], signature, 1.0, plan="p")
    named = {"task": "binary", "sticky": "", "personal": [], "reason": "", "event_at": 0, "recorded_at": 0}
    return Release(RELEASE_SCHEMA, "flights", "late", 1, 1, variants=[variant], plans={"p": plan}, **named)  # type: ignore[arg-type]


def test_every_field_takes_what_it_declares() -> None:
    served = release(DTYPES)
    declared = {one["name"]: one["datatype"] for one in model_metadata("late", served, 0)["inputs"]}
    assert list(declared.values()) == ["INT64", "INT64", "FP64", "BOOL", "BYTES", "BYTES"]
    tensors = [Tensor(name, [2], datatype, SAMPLES[datatype]) for name, datatype in declared.items()]
    rows = to_rows(InferRequest(tensors), served, None)
    frame = typed_frame(rows, DTYPES)
    assert frame["seats"].to_list() == [1, 2]
    assert frame["is_wet"].to_list() == [True, None]
    floats = [Tensor("seats", [2], "FP64", [1.0, 2.0])]
    assert typed_frame(to_rows(InferRequest(floats), served, None), DTYPES)["seats"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("FP32", 1e39), ("FP16", 65505), ("FP64", True), ("INT64", 2.5), ("INT64", True), ("INT8", 128.0), ("BOOL", 1)],
)
def test_a_value_beyond_its_datatype_is_refused(datatype: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match="holds a value that is no"):
        to_rows(InferRequest([Tensor("miles", [1], datatype, [value])]), release({}), None)
