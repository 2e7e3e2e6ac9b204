"""Reading the prediction log from real Parquet chunks."""

from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk
from loopwright.store.streams import STREAMS
from loopwright.store.types import Chunk

NAMES = ["prediction_id", "release", "variant", "is_shadow", "event_at", "recorded_at", "score"]


def prediction(number: int, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(predictions.PREDICTION_SCHEMA.names())
    fixed = {"release": 1, "variant": "champion", "model_version": 1, "is_shadow": False, "score": number / 10}
    return {**row, "prediction_id": f"pred_{number:03}", "event_at": number, "recorded_at": number, **fixed, **values}


def label(number: int, of: int, at_us: int, value: float) -> dict[str, Any]:
    moments = {"event_at": at_us, "recorded_at": at_us}
    return {
        "label_id": f"label_{number:03}",
        "prediction_id": f"pred_{of:03}",
        "label": value,
        "label_text": None,
        **moments,
    }


class Shelf:
    """Chunks without a database."""

    def __init__(self, blobs: BlobStore, tmp_path: Any) -> None:
        self.blobs, self.tmp_path, self.count = blobs, tmp_path, 0

    def chunk(self, rows: list[dict[str, Any]], features: dict[str, Any] | None = None) -> Chunk:
        kind = "labels" if "label_id" in rows[0] else "predictions"
        schema = predictions.PREDICTION_SCHEMA if kind == "predictions" else predictions.LABEL_SCHEMA
        frame = pl.DataFrame(
            rows, schema={**schema, **{f"f.{name}": dtype for name, dtype in (features or {}).items()}}
        )
        frame = frame.sort(STREAMS[kind].id_column)
        self.count += 1
        path = self.tmp_path / f"{self.count}.parquet"
        frame.write_parquet(path)
        stored = describe_chunk(frame, self.blobs.put_file(path), kind=kind, stream="late", writer="w", seq=self.count)
        known = msgspec.structs.asdict(stored)
        return Chunk(**known, project="flights", chunk_id=f"chunk_{self.count}", recorded_at=0)


@pytest.fixture
def shelf(blob_store: BlobStore, tmp_path: Any) -> Shelf:
    return Shelf(blob_store, tmp_path)


def test_a_scan_keeps_to_its_stretch_of_time(shelf: Shelf) -> None:
    chunks = [shelf.chunk([prediction(n) for n in range(start, start + 10)]) for start in (0, 10, 20)]
    frame = predictions.scan(chunks, shelf.blobs, start_at=5, end_at=15, columns=["event_at", "score"]).collect()
    assert frame["event_at"].sort().to_list() == list(range(5, 15))
    assert frame.columns == ["event_at", "score"]


def test_features_that_differ_between_releases_read_as_one_frame(shelf: Shelf) -> None:
    old = shelf.chunk([{**prediction(1), "f.distance": 2.5}], {"distance": pl.Float64()})
    new = shelf.chunk([{**prediction(2), "f.origin": "JFK"}], {"origin": pl.String()})
    changed = shelf.chunk([{**prediction(3), "f.distance": "far"}], {"distance": pl.String()})
    frame = predictions.scan([old, new, changed], shelf.blobs).collect().sort("prediction_id")
    assert frame["f.distance"].to_list() == ["2.5", None, "far"]
    assert frame["f.origin"].to_list() == [None, "JFK", None]
    only = predictions.scan([old, new], shelf.blobs, columns=["prediction_id", "f.distance", "f.gone"]).collect()
    assert only.columns == ["prediction_id", "f.distance", "f.gone"]
    assert only.sort("prediction_id")["f.distance"].to_list() == [2.5, None]


def test_no_chunks_is_an_empty_frame(blob_store: BlobStore) -> None:
    frame = predictions.scan([], blob_store, columns=["score", "f.distance"]).collect()
    assert frame.columns == ["score", "f.distance"]
    assert predictions.latest_labels([], blob_store).collect().is_empty()
    assert predictions.latest(predictions.scan([], blob_store)).collect().is_empty()
    assert predictions.recent([], blob_store).is_empty()


def test_the_latest_label_wins_in_any_order_of_arrival(shelf: Shelf) -> None:
    late = shelf.chunk([label(3, 1, 30, 1.0), label(4, 2, 5, 1.0)])
    early = shelf.chunk([label(1, 1, 10, 0.0), label(2, 1, 20, 0.0)])
    found = predictions.latest_labels([late, early], shelf.blobs).collect().sort("prediction_id")
    assert found.select("prediction_id", "label", "label_at").rows() == [("pred_001", 1.0, 30), ("pred_002", 1.0, 5)]
    known = predictions.latest_labels([late, early], shelf.blobs, known_by=20).collect().sort("prediction_id")
    assert known["label"].to_list() == [0.0, 1.0]


def test_the_dataset_has_served_rows_with_their_labels(shelf: Shelf) -> None:
    rows = [prediction(1), prediction(1, variant="frozen", is_shadow=True, score=0.9), prediction(2)]
    chunk, labels = shelf.chunk(rows), shelf.chunk([label(1, 1, 10, 1.0), label(2, 9, 10, 1.0)])
    served = predictions.scan([chunk], shelf.blobs, columns=["prediction_id", "is_shadow", "score"])
    frame = predictions.join_labels(served, predictions.latest_labels([labels], shelf.blobs)).collect()
    assert frame.sort("prediction_id", "is_shadow").drop("is_shadow").rows() == [
        ("pred_001", 0.1, 1.0, None, 10),
        ("pred_001", 0.9, 1.0, None, 10),
        ("pred_002", 0.2, None, None, None),
    ]
    assert frame.columns == ["prediction_id", "is_shadow", "score", "label", "label_text", "label_at"]


def test_an_id_that_was_logged_twice_counts_once(shelf: Shelf) -> None:
    first, again = shelf.chunk([prediction(1, score=0.1)]), shelf.chunk([prediction(1, score=0.7, recorded_at=99)])
    shadow = shelf.chunk([prediction(1, variant="frozen", is_shadow=True, score=0.9), prediction(2, score=0.2)])
    for chunks, scores in (([again, first], [0.7]), ([again, shadow, first, again], [0.2, 0.7, 0.9]), ([], [])):
        frame = predictions.latest(predictions.scan(chunks, shelf.blobs)).collect()
        assert sorted(frame["score"]) == scores


def test_one_prediction_is_found_with_its_shadows(shelf: Shelf) -> None:
    shadow = prediction(5, variant="frozen", is_shadow=True)
    chunks = [shelf.chunk([prediction(n) for n in range(4)]), shelf.chunk([shadow, prediction(5), prediction(6)])]
    rows = predictions.find_prediction(chunks, shelf.blobs, "pred_005")
    assert [row["variant"] for row in rows] == ["champion", "frozen"]
    assert predictions.find_prediction(chunks, shelf.blobs, "pred_999") == []


def test_recent_rows_come_newest_first(shelf: Shelf) -> None:
    chunks = [shelf.chunk([prediction(n) for n in range(start, start + 10)]) for start in (0, 10, 20)]
    frame = predictions.recent(chunks, shelf.blobs, limit=12)
    assert frame["event_at"].to_list() == list(range(29, 17, -1))
