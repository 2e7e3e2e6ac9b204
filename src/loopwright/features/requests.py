"""On-request functions: one function and one check of its answer, for training and serving alike."""

from collections.abc import Callable
from typing import Any

import polars as pl

from loopwright.features.frames import as_feature
from loopwright.features.types import RequestSpec
from loopwright.features.views import check_columns
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, LoopwrightError, StepFailed

RunRequest = Callable[[RequestSpec, pl.DataFrame], pl.DataFrame]
"""Takes a request and a frame of exactly its inputs, answers a frame of exactly its outputs."""


def request_runner(load: Callable[[CodeRef], Callable[[pl.DataFrame], Any]]) -> RunRequest:
    """Return a runner of on-request functions.

    Args:
        load: Returns the function that a code ref names; called for every batch, so it should remember.
    """

    def run(request: RequestSpec, inputs: pl.DataFrame) -> pl.DataFrame:
        return run_request(request, load(request.function), inputs)

    return run


def run_request(request: RequestSpec, function: Callable[[pl.DataFrame], Any], inputs: pl.DataFrame) -> pl.DataFrame:
    """Call an on-request function once for a batch and return its features, Float64 or String, in the declared order.

    Raises:
        StepFailed: The function raised; the message carries its error.
        InvalidInput: Its answer lacks an output or has another number of rows.
    """
    check_columns(request.inputs, inputs.columns, f"the request of {request.name}", "inputs")
    try:
        answer = function(inputs[request.inputs])
        answer = answer.collect() if isinstance(answer, pl.LazyFrame) else answer
    except LoopwrightError:
        raise
    except Exception as error:
        message = f"on-request function {request.name} raised {type(error).__name__}: {error}"
        raise StepFailed(message, field=f"request.{request.name}") from error
    return check_answer(request, answer, inputs.height)


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
        raise InvalidInput("this answer has another number of rows", field=field, value=answer.height, rule=rule)
    check_columns(request.outputs, answer.columns, f"the answer of {request.name}", "outputs")
    return pl.DataFrame([as_feature(answer[name], f"{field}.{name}") for name in request.outputs])
