"""One prediction computed again: by the version that answered, from what the log holds of the request."""

import json
from typing import Any

from loopwright import registry, serving
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.loop.training import evidence
from loopwright.loop.types import Replayed
from loopwright.pipelines import PipelineContext
from loopwright.serving import predictions
from loopwright.store import chunks
from loopwright.store.streams import FEATURE_PREFIX
from loopwright.store.types import Streams

Row = dict[str, Any]


def recompute(context: PipelineContext, prediction_id: str) -> Replayed:
    """Find the logged row, load the version that answered in a child process, and compare to the bit.

    Raises:
        NotFound: There is no such prediction, or its model runs elsewhere.
        InvalidInput: The log does not hold all that the version read.
    """
    deployment, row = _find_served(context, prediction_id)
    spec = context.call(serving.get, deployment=deployment).spec
    if spec.is_external:
        raise NotFound("this prediction was made elsewhere; its model is not here", value=prediction_id)
    version = context.call(registry.get_version, model=spec.model, version=int(row["model_version"]))
    features = {
        name.removeprefix(FEATURE_PREFIX): value for name, value in row.items() if name.startswith(FEATURE_PREFIX)
    }
    if absent := [column.name for column in version.signature.inputs if column.name not in features]:
        raise InvalidInput(
            "the log does not hold all that the version read",
            field="features",
            value=", ".join(absent[:10]),
            rule="personal columns are left out of the log, so what depends on them cannot be computed again",
        )
    asked = {
        "model": evidence.model_document(version),
        "names": list(features),
        "values": list(features.values()),
        "logged": _logged_answer(row, version.signature.classes),
    }
    return convert(context.children.call("loopwright.loop.training.scoring:compute_again", asked).output, Replayed)


def _find_served(context: PipelineContext, prediction_id: str) -> tuple[str, Row]:
    """Return the deployment that answered and the served row of a prediction.

    Raises:
        NotFound: No deployment of this project answered under this id.
    """
    served = _served_rows(context, prediction_id)
    if not served:
        context.seal(Streams(context.project, ("predictions",)))
        served = _served_rows(context, prediction_id)
    if not served:
        message = "no prediction of this project has this id"
        next_step = "it stands in every answer of /predict"
        raise NotFound(message, field="prediction_id", value=prediction_id, next_step=next_step)
    return served[0]


def _served_rows(context: PipelineContext, prediction_id: str) -> list[tuple[str, Row]]:
    stored = context.call(chunks.find, kind="predictions", item_id=prediction_id)
    return [
        (chunk.stream, row)
        for chunk in stored
        for row in predictions.find_prediction([chunk], context.blobs, prediction_id)
        if not row["is_shadow"]
    ]


def _logged_answer(row: Row, classes: list[str]) -> float | list[float] | None:
    """Return the logged value, or the probability of each class in the model's order."""
    if row["score"] is not None or row["answer"] is None:
        return row["score"]  # type: ignore[no-any-return]
    probabilities = json.loads(row["answer"])["probabilities"]
    return [probabilities[name] for name in classes]
