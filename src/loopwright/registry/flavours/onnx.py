"""ONNX, run by onnxruntime on one thread: models of any library that exports it. The file holds a graph, no code."""

from pathlib import Path
from typing import Any

import numpy as np

from loopwright.kernel.errors import InvalidInput
from loopwright.registry.flavours.base import Matrix, Saved, TrainingColumn, check_width, library_of
from loopwright.registry.flavours.onnx_graph import check_graph
from loopwright.registry.types import Signature, Task

FILE = "model.onnx"
_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class OnnxPredictor:
    """A session over a model whose one input is a matrix of shape (n, k)."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session, self._signature = session, signature
        # A classifier's first output is the class it answers, its last one the probabilities.
        outputs = session.get_outputs()
        self._output = str(outputs[0 if signature.task == "regression" else -1].name)

    def predict(self, matrix: Matrix) -> Matrix:
        """Return P(positive), the value, or P of each class."""
        width = len(self._signature.inputs)
        if matrix.ndim != 2 or matrix.shape[1] != width:
            raise InvalidInput("the matrix has another width", field="matrix", value=matrix.shape, rule=f"(n, {width})")
        is_multiclass, rows = self._signature.task == "multiclass", len(matrix)
        if rows == 0:
            return np.empty((0, len(self._signature.classes)) if is_multiclass else 0)
        answer = self.run(matrix)
        if isinstance(answer, list):
            answer = [list(row.values()) for row in answer]
        values = np.asarray(answer, dtype=np.float64).reshape(rows, -1)
        return np.ascontiguousarray(values if is_multiclass else values[:, -1])

    def run(self, matrix: Matrix) -> Any:
        """Return the output as the session gives it: an array, or of a ZipMap one dict of probabilities a row."""
        (entry,) = self._session.get_inputs()
        (answer,) = self._session.run([self._output], {entry.name: np.ascontiguousarray(matrix, _DTYPES[entry.type])})
        return answer


class OnnxFlavour:
    """Takes ONNX files, and models of the package ``onnx``."""

    name = "onnx"
    suffix = ".onnx"

    def can_save(self, model: Any) -> bool:
        """Say whether it is a ModelProto."""
        return "onnx" in library_of(model) and hasattr(model, "SerializeToString")

    def save(self, model: Any, folder: Path, columns: list[TrainingColumn], task: Task) -> Saved:
        """Write the graph."""
        return _keep(model.SerializeToString(), columns, task, folder)

    def load(self, folder: Path, signature: Signature) -> OnnxPredictor:
        """Open a session."""
        session = _open((folder / FILE).read_bytes())
        _check(
            session,
            [
                TrainingColumn(input_column.name, input_column.kind, input_column.categories)
                for input_column in signature.inputs
            ],
        )
        return OnnxPredictor(session, signature)

    def inspect(self, path: Path, columns: list[TrainingColumn], task: Task, folder: Path) -> Saved:
        """Take over a file; without columns its inputs are numbers."""
        return _keep(path.read_bytes(), columns, task, folder)


def _keep(body: bytes, columns: list[TrainingColumn], task: Task, folder: Path) -> Saved:
    session = _open(body)
    width = session.get_inputs()[0].shape[-1]
    if not columns and isinstance(width, int):
        columns = [TrainingColumn(f"column_{index}", "number") for index in range(width)]
    _check(session, columns)
    (folder / FILE).write_bytes(body)
    signature = Signature([column.to_input() for column in columns], task)
    return Saved(signature.inputs, _classes(OnnxPredictor(session, signature), signature))


def _open(body: bytes) -> Any:
    import onnxruntime

    check_graph(body, FILE)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base of their own
        raise InvalidInput("this is no ONNX model", field=FILE, value=str(error)) from None


def _check(session: Any, columns: list[TrainingColumn]) -> None:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 2:
        told = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        raise InvalidInput("this model's inputs cannot be fed", field=FILE, value=told, rule="one matrix of numbers")
    if not columns:
        raise InvalidInput("the model does not tell its columns", field="columns", rule="name them in order")
    if isinstance(inputs[0].shape[1], int):
        check_width(inputs[0].shape[1], columns)


def _classes(predictor: OnnxPredictor, signature: Signature) -> list[str]:
    """Return the classes in output order: as a ZipMap names them, else their places."""
    if signature.task not in ("binary", "multiclass"):
        return []
    answer = predictor.run(np.zeros((1, len(signature.inputs))))
    if isinstance(answer, list):
        return [str(name) for name in answer[0]]
    return [str(index) for index in range(max(np.asarray(answer).reshape(1, -1).shape[1], 2))]
