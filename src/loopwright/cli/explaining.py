"""Printing a provenance, and what computing the answer again gave."""

from loopwright.cli.show import say
from loopwright.loop import Provenance, ProvenanceNode

_MOST_FILES = 3
"""How many files of a node are printed; ``--json`` names them all."""


def print_provenance(provenance: Provenance) -> None:
    """Print one sentence a node, nearest first, with its ref and its Parquet files below; then the replay."""
    for node in provenance.nodes:
        say(node.sentence)
        say(f"    {node.ref}")
        digests = _file_digests(node)
        for digest in digests[:_MOST_FILES]:
            say(f"    blobs/{digest[:2]}/{digest}")
        if len(digests) > _MOST_FILES:
            say(f"    and {len(digests) - _MOST_FILES} more files: --json names them")
    if provenance.replay is not None:
        say(provenance.replay.sentence)


def _file_digests(node: ProvenanceNode) -> list[str]:
    """Return the digests of the files that hold a node's rows; a dataset's own digest names no file."""
    if node.kind == "dataset":
        return list(node.details.get("fragments", []))  # none of one that was deleted
    is_stored = node.kind == "training_set" and "deleted_at" not in node.details
    return [node.details["digest"]] if is_stored else []
