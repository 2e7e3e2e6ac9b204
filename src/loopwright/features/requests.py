"""On-request functions: one way to call them and one check of what they answer, for training and serving alike."""

from collections.abc import Callable
from typing import Any

import polars as pl

from loopwright.features.columns import as_feature
from loopwright.features.types import RequestSpec
from loopwright.features.views import check_columns
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, LoopwrightError, StepFailed

RunRequest = Callable[[RequestSpec, pl.DataFrame], Any]
"""Takes a request and a frame of exactly its inputs, and returns what the function answered, whatever that is.

In a gateway the function runs in the process, in a training in a child; ``request_features`` checks either answer.
"""


def request_features(request: RequestSpec, rows: pl.DataFrame, run: RunRequest) -> pl.DataFrame:
    """Return the features of one request for all rows at once, Float64 or String, in the declared order.

    Args:
        request: Which.
        rows: One row each; holds the request's inputs.
        run: Calls the function.

    Raises:
        StepFailed: The function raised, or its answer lacks an output, has another number of rows or holds no features.
    """
    try:
        return check_answer(request, run(request, rows.select(request.inputs)), rows.height)
    except InvalidInput as error:
        # The rows were read before, so what is wrong is the function and no fault of who sent them.
        raise StepFailed(error.message, field=error.field, rule=error.rule, next_step=error.next_step) from error


def request_runner(load: Callable[[CodeRef], Callable[[pl.DataFrame], Any]]) -> RunRequest:
    """Return a runner that calls on-request functions in this process.

    Args:
        load: Returns the function that a code ref names; called for every batch, so it should remember.
    """

    def run(request: RequestSpec, inputs: pl.DataFrame) -> Any:
        return run_request(request, load(request.function), inputs)

    return run


def run_request(request: RequestSpec, function: Callable[[pl.DataFrame], Any], inputs: pl.DataFrame) -> Any:
    """Call an on-request function once for a batch.

    Raises:
        StepFailed: The function raised; the message carries its error.
    """
    try:
        answer = function(inputs)
        return answer.collect() if isinstance(answer, pl.LazyFrame) else answer
    except LoopwrightError:
        raise
    except Exception as error:
        message = f"on-request function {request.name} raised {type(error).__name__}: {error}"
        raise StepFailed(message, field=f"request.{request.name}") from error


def check_answer(request: RequestSpec, answer: Any, rows: int) -> pl.DataFrame:
    """Return what an on-request function answered as features, Float64 or String, in the declared order.

    Raises:
        InvalidInput: It is no frame, lacks an output, or has another number of rows.
    """
    field = f"request.{request.name}"
    if not isinstance(answer, pl.DataFrame):
        raise InvalidInput("an on-request function answers a frame", field=field, value=type(answer).__name__)
    if answer.height != rows:
        rule = f"one row for each of the {rows} it was given"
        told = f"the answer of {request.name} has another number of rows: {answer.height}"
        raise InvalidInput(told, field=field, value=answer.height, rule=rule)
    check_columns(request.outputs, answer.columns, f"the answer of {request.name}", "outputs")
    return pl.DataFrame([as_feature(answer[name], f"{field}.{name}") for name in request.outputs])
