"""Questions: the body of a request as it came, and the two protocols in which it is read and answered.

Whoever answers reads it: the gateway itself, or the child process that it is handed to unread.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from loopwright.gateway.answering import tensors
from loopwright.gateway.answering.inputs import Row
from loopwright.gateway.answering.runtime import Prediction
from loopwright.gateway.bodies import decoded, encoded
from loopwright.serving import Release

Protocol = Literal["v1", "v2", "features"]


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A request for predictions, or for the features that they would be given.

    Args:
        protocol: ``v1`` for rows of JSON, ``v2`` for tensors, ``features`` for rows whose features are looked up.
        body: As it came.
        name: What the caller named the model.
        started: ``time.perf_counter()`` when it came.
        forced: Place of the variant to use whatever the bucket says.
    """

    protocol: Protocol
    body: bytes
    name: str
    started: float
    forced: int | None = None


class PredictBody(msgspec.Struct):
    """Body of a predict request."""

    rows: list[dict[str, Any]]


class PredictAnswer(msgspec.Struct):
    """Answer of a predict request."""

    deployment: str
    release: int
    predictions: Sequence[Prediction]


_read_predict = msgspec.json.Decoder(PredictBody)
_read_infer = msgspec.json.Decoder(tensors.InferRequest)


class Reading(msgspec.Struct, frozen=True):
    """A question that was read: its rows, and the tensors where there are any."""

    rows: Sequence[Row]
    infer: tensors.InferRequest | None = None


def read_question(question: Question, release: Release) -> Reading:
    """Read the rows out of a body.

    Raises:
        InvalidInput: It is not what the protocol says.
    """
    if question.protocol == "v1":
        return Reading(decoded(_read_predict, question.body).rows)
    infer: tensors.InferRequest = decoded(_read_infer, question.body)
    tensors.check_outputs(infer, release)
    return Reading(tensors.to_rows(infer, release, question.forced), infer)


def write_answer(question: Question, release: Release, reading: Reading, predictions: Sequence[Prediction]) -> bytes:
    """Return the body of the answer."""
    if reading.infer is None:
        return encoded(PredictAnswer(question.name, release.number, predictions))
    return encoded(tensors.to_answer(question.name, reading.infer, release, predictions))
