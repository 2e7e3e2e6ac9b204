"""A provenance as people read it: down to the files they can open."""

import pytest

from loopwright.cli.explaining import print_provenance
from loopwright.loop import Provenance, ProvenanceNode


def test_the_files_behind_an_answer_are_named_where_the_state_folder_has_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fragments = [f"{n:064x}" for n in range(5)]
    nodes = [
        ProvenanceNode("shop/model:late/1", "model", "Version 1 of late.", {"digest": "a" * 64}),
        ProvenanceNode("shop/training_set:late/1", "training_set", "9 rows.", {"digest": "b" * 64}),
        ProvenanceNode("shop/dataset:orders/1", "dataset", "Dataset.", {"digest": "c" * 64, "fragments": fragments}),
    ]
    print_provenance(Provenance("pred_1", nodes, []))
    said = capsys.readouterr().out
    assert f"    shop/training_set:late/1\n    blobs/bb/{'b' * 64}\n" in said
    assert [f"blobs/00/{digest}" in said for digest in fragments] == [True, True, True, False, False]
    assert "and 2 more files" in said
    assert "aaaa" not in said
    assert "cccc" not in said
