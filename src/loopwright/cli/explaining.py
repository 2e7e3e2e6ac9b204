"""Printing a provenance, and computing a score again from the records."""

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.loop import Provenance, ProvenanceNode
from loopwright.registry import encode, load_model


class Replayed(msgspec.Struct, frozen=True):
    """An answer computed again, a value or the probability of each class, and whether every bit is as logged."""

    logged: float | list[float] | None
    computed: float | list[float]
    is_same: bool
    sentence: str


_MOST_FILES = 3
"""How many files of a node are printed; ``--json`` names them all."""


def print_provenance(provenance: Provenance) -> None:
    """Print one sentence a node, nearest first, with its ref and its Parquet files below."""
    for node in provenance.nodes:
        click.echo(node.sentence)
        click.echo(f"    {node.ref}")
        digests = _file_digests(node)
        for digest in digests[:_MOST_FILES]:
            click.echo(f"    blobs/{digest[:2]}/{digest}")
        if len(digests) > _MOST_FILES:
            click.echo(f"    and {len(digests) - _MOST_FILES} more files: --json names them")


def _file_digests(node: ProvenanceNode) -> list[str]:
    """Return the digests of the files that hold a node's rows; a dataset's own digest names no file."""
    if node.kind == "dataset":
        return list(node.details["fragments"])
    return [node.details["digest"]] if node.kind == "training_set" else []


def replay_prediction(remote: Any, provenance: Provenance) -> Replayed:
    """Load the version that answered from its files and compute the score of the logged features again."""
    prediction = next(node for node in provenance.nodes if node.kind == "prediction")
    model = next((node for node in provenance.nodes if node.kind == "model"), None)
    if model is None:
        raise NotFound("this prediction was made elsewhere; its model is not here", value=provenance.prediction_id)
    ref = parse_ref(model.ref)
    version = remote.call("registry.get_version", model=ref.name, version=ref.version)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in version.files:
            place = folder / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(remote.caller.get_blob(remote.project, file.digest))
        predictor = load_model(version, folder)
    columns = {key: [value] for key, value in prediction.details["features"].items()}
    computed = np.asarray(predictor.predict(encode(version.signature, columns)), np.float64)[0]
    logged = _logged_answer(prediction.details, version.signature.classes)
    is_same = logged is not None and np.asarray(logged, np.float64).tobytes() == computed.tobytes()
    verdict = "the same to the bit" if is_same else "NOT the same"
    if logged is None:
        verdict = "nothing to compare it with: the log holds no answer"
    value: float | list[float] = computed.tolist()
    return Replayed(logged, value, is_same, f"replayed from the records: {value!r}, {verdict}")


def _logged_answer(details: dict[str, Any], classes: list[str]) -> float | list[float] | None:
    """Return the logged value, or the probability of each class in the model's order."""
    if details["score"] is not None or details["answer"] is None:
        return details["score"]  # type: ignore[no-any-return]
    probabilities = json.loads(details["answer"])["probabilities"]
    return [probabilities[name] for name in classes]
