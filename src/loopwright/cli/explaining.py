"""Printing a provenance, and computing a score again from the records."""

import struct
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from loopwright.kernel.errors import NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.loop import Provenance
from loopwright.registry import encode, load_model


class Replayed(msgspec.Struct, frozen=True):
    """A score computed again: the logged one, the new one, and whether every bit is the same."""

    logged: float | None
    computed: float
    is_same: bool
    sentence: str


def print_provenance(provenance: Provenance) -> None:
    """Print one sentence a node, nearest first, with its ref below."""
    for node in provenance.nodes:
        click.echo(node.sentence)
        click.echo(f"    {node.ref}")


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
    computed = float(predictor.predict(encode(version.signature, columns))[0])
    logged = prediction.details["score"]
    is_same = logged is not None and struct.pack("<d", logged) == struct.pack("<d", computed)
    verdict = "the same to the bit" if is_same else "NOT the same"
    return Replayed(logged, computed, is_same, f"replayed from the records: {computed!r}, {verdict}")
