"""An ONNX file that points to other files, or to operators that are not ONNX's own, is never opened."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from loopwright.kernel.errors import InvalidInput
from loopwright.registry import Signature
from loopwright.registry.artifacts import inspect_file
from loopwright.registry.flavours.onnx import OnnxFlavour
from loopwright.registry.flavours.onnx_graph import check_graph


def linear(domain: str = "", *, external: str = "", subgraph: bool = False) -> Any:
    weight = numpy_helper.from_array(np.ones((2, 1), np.float32), "weights")
    if external:
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", external), ("offset", "0"), ("length", "8")):
            weight.external_data.add(key=key, value=value)
    rows = helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [None, 2])
    answer = helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, [None, 1])
    if subgraph:
        inside = helper.make_graph([helper.make_node("Identity", ["weights"], ["w"])], "then", [], [], [weight])
        nodes = [helper.make_node("If", ["chance"], ["answer"], then_branch=inside, else_branch=inside)]
        graph = helper.make_graph(nodes, "branches", [rows], [answer])
    else:
        nodes = [helper.make_node("MatMul", ["rows", "weights"], ["answer"], domain=domain)]
        graph = helper.make_graph(nodes, "linear", [rows], [answer], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_a_file_with_everything_in_it_passes() -> None:
    check_graph(linear().SerializeToString(), "model.onnx")


@pytest.mark.parametrize("subgraph", [False, True])
def test_weights_in_other_files_are_refused_wherever_they_stand(tmp_path: Path, subgraph: bool) -> None:
    """The runtime would read them from any file of this machine, and predictions would tell what stands there."""
    (tmp_path / "service.token").write_bytes(b"lws_abcdefgh")
    model = linear(external=str(tmp_path / "service.token"), subgraph=subgraph)
    place = tmp_path / "model.onnx"
    place.write_bytes(model.SerializeToString())
    for refused in (
        lambda: check_graph(place.read_bytes(), "model.onnx"),
        lambda: inspect_file(place, tmp_path / "out", "regression"),
        lambda: OnnxFlavour().load(tmp_path, Signature([], "regression")),
    ):
        with pytest.raises(InvalidInput, match="keeps its weights in other files"):
            refused()


def test_no_field_is_read_as_another_than_the_runtime_takes_it_for() -> None:
    """The runtime drops the bits of a field's number above 32: what is unknown to us may be a place of data to it."""
    location = b"\x0a\x08location\x12\x07/secret"
    hidden = bytes([13 << 3 | 2 | 0x80, 0x80, 0x80, 0x80, 0x10, len(location)]) + location
    tensor = b"\x08\x02\x10\x01\x42\x01w" + hidden
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    with pytest.raises(InvalidInput, match="no ONNX model"):
        check_graph(b"\x3a" + bytes([len(graph)]) + graph, "model.onnx")


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.contrib", "own"])
def test_operators_of_others_are_refused(domain: str) -> None:
    with pytest.raises(InvalidInput, match="not ONNX's own"):
        check_graph(linear(domain).SerializeToString(), "model.onnx")


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\x00\x00\x00ORTM\x00",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x3a\x05\x00",
        b"\x0b",
        b"\x3a",
    ],
    ids=["onnxruntime's own", "too long a number", "cut off", "a group", "no length"],
)
def test_what_is_no_onnx_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        check_graph(body, "model.onnx")


def test_depth_is_bounded() -> None:
    body = b""
    for _ in range(200):  # graph > node > attribute > graph > …
        for number in (6, 5, 1):
            size, length = len(body), b""
            while size > 127:
                length += bytes([size & 127 | 128])
                size >>= 7
            body = bytes([number << 3 | 2]) + length + bytes([size]) + body
    with pytest.raises(InvalidInput, match="no ONNX model") as caught:
        check_graph(b"\x3a" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body, "model.onnx")
    assert "nested" in str(caught.value.value)
