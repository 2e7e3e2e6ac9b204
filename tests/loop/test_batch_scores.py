"""Batches of rows are answered by a child, logged, and told; a model that ends its process ends its own job alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.kernel.errors import InvalidInput, StepFailed
from loopwright.loop import batch_scores
from loopwright.loop.batch_scores import score_ids
from loopwright.pipelines import ChildPool
from loopwright.registry import InputColumn, ModelFile, Signature
from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.types import BlobRef, Chunk, Job
from tests.docs.pages import forget_plugins
from tests.inprocess import InProcessWorker
from tests.loop.conftest import LATE, Loop

pytestmark = pytest.mark.slow
DAY = 86_400_000_000
INPUTS = [InputColumn("distance", "number"), InputColumn("origin", "category", ["JFK"])]
ROWS = pl.DataFrame(
    {"case": ["a", "b", "c"], "distance": [1, 2, 3], "origin": ["JFK", None, "LGA"], "at": [DAY, 2 * DAY, 3 * DAY]}
)
FRAGILE = """
import json, os, time
from pathlib import Path

class Fragile:
    def __init__(self, told):
        self.told = told

    def predict(self, matrix):
        if self.told["fails_at"] == "predict":
            os.abort()
        if self.told["fails_at"] == "never":
            Path(self.told["begun"]).touch()
            time.sleep(3600)
        return matrix[:, 0] if self.told["fails_at"] == "no place" else matrix[:-1, 0]

class Flavour:
    name, suffix = "fragile", ".fragile"

    def load(self, folder, signature):
        told = json.loads((folder / "model.json").read_text())
        if told["fails_at"] == "load":
            os._exit(3)
        return Fragile(told)
"""
"""A flavour whose models do as their file says; what loads them is a child."""


@pytest.fixture(scope="module")
def blob_store(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return open_blob_store(str(tmp_path_factory.mktemp("blobs")))


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory, blob_store: BlobStore) -> Iterator[ChildPool]:
    """Children that find the flavour as an installed package."""
    installed = tmp_path_factory.mktemp("installed")
    info = installed / "fragile-1.dist-info"
    info.mkdir()
    (installed / "fragile.py").write_text(FRAGILE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[loopwright.flavours]\nfragile = fragile:Flavour\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(installed))
        patch.syspath_prepend(str(installed))
        forget_plugins()
        pool = ChildPool(tmp_path_factory.mktemp("worker"), blob_store)
        yield pool
        pool.close()
    forget_plugins()


@dataclass
class Scorer(InProcessWorker):
    """Scores batches of the deployment ``late``."""

    loop: Loop = None  # type: ignore[assignment]
    stops_once: Path | None = None

    def should_stop(self) -> bool:
        return self.stops_once is not None and self.stops_once.exists()

    def register(self, flavour: str, document: dict[str, Any], signature: Signature) -> int:
        stored = self.blobs.put(json.dumps(document).encode())
        name = "constant.json" if flavour == "constant" else "model.json"
        files = [ModelFile(name, stored.digest, stored.size_bytes)]
        made = self.loop.service(
            "registry.register", model="late", flavour=flavour, files=files, signature=signature, metrics={}
        )
        return int(made.version)

    def start(self, rows: pl.DataFrame = ROWS, **args: Any) -> Job:
        path = self.state_dir / "rows.parquet"
        rows.write_parquet(path)
        job: Job = self.loop("serving.start_score", deployment="late", input=self.blobs.put_file(path), **args)
        return job

    def answers(self, done: Any) -> pl.DataFrame:
        return pl.read_parquet(self.blobs.path(done["output"]))

    def chunks(self) -> list[Chunk]:
        found: list[Chunk] = self.call("chunks.find", {"kind": "predictions", "stream": "late"})
        return found

    def logged(self) -> pl.DataFrame:
        return predictions.scan(self.chunks(), self.blobs).collect()


@pytest.fixture
def scorer(loop: Loop, blob_store: BlobStore, children: ChildPool, tmp_path: Path) -> Scorer:
    """A champion that always answers 0.25, reading a number and a category."""
    made = Scorer(loop.dispatcher, blob_store, tmp_path, loop.wall, children=children, loop=loop)
    made.register("constant", {"value": 0.25}, Signature(INPUTS, "binary", ["0", "1"]))
    loop("loop.deploy", deployment="late", version=1)
    return made


def test_a_batch_is_answered_and_logged_slice_by_slice(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_scores, "SCORE_ROWS", 2)
    started = scorer.start(id_column="case", time_column="at")
    (done,) = scorer.run()
    assert (done.job_id, done.state, done.result["rows"]) == (started.job_id, "done", 3)
    answers = scorer.answers(done.result)
    assert answers.select("row_key", "score").rows() == [("a", 0.25), ("b", 0.25), ("c", 0.25)]
    assert scorer.said == ["2 of 3 rows", "3 of 3 rows"]
    assert [chunk.rows for chunk in scorer.chunks()] == [2, 1]
    logged = scorer.logged()
    assert logged.select("variant", "model_version", "release").unique().rows() == [("score", 1, 1)]
    assert logged["event_at"].to_list() == [DAY, 2 * DAY, 3 * DAY]
    assert logged.select("f.distance", "f.origin").rows() == [(1.0, "JFK"), (2.0, None), (3.0, "LGA")]
    (row,) = predictions.find_prediction(scorer.chunks(), scorer.blobs, answers["prediction_id"][1])
    assert row["row_key"] == "b"
    told = [event.type for event in scorer.loop("audit.list", limit=10)]
    assert [kind for kind in told if "score" in kind] == ["serving.scored", "serving.score_started"]
    assert scorer.run_job(started) == done.result  # again, as after a crash
    assert len(scorer.logged()) == 3
    echo = scorer.register("fragile", {"fails_at": "no place"}, Signature(INPUTS, "regression"))
    done = scorer.run_job(scorer.start(version=echo))
    assert scorer.answers(done)["score"].to_list() == [1.0, 2.0, 3.0]


def test_personal_columns_are_not_logged(scorer: Scorer) -> None:
    scorer.loop.apply(deployments=[msgspec.structs.replace(LATE, personal=["origin", "case"])])
    scorer.start(id_column="case")
    (done,) = scorer.run()
    logged = scorer.logged()
    assert logged["f.distance"].to_list() == [1.0, 2.0, 3.0]
    assert "f.origin" not in logged.columns
    assert logged["row_key"].null_count() == 3
    assert scorer.answers(done.result)["row_key"].to_list() == ["a", "b", "c"]


def test_missing_columns_are_named(scorer: Scorer) -> None:
    started = scorer.start(ROWS.drop("distance"), id_column="nr")
    with pytest.raises(InvalidInput, match="distance, nr"):
        scorer.run_job(started)


def test_rows_that_end_their_reader_fail_their_own_job_alone(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a caller sent is opened in a child; the worker sees what that wrote."""
    job = scorer.loop("serving.start_score", deployment="late", input=scorer.blobs.put(b"PAR1 and no rows PAR1"))
    scorer.read = partial(scorer.children.read, roots=[])
    opened: list[str] = []
    scan = pl.scan_parquet

    def note(path: Any, **options: Any) -> pl.LazyFrame:
        opened.append(str(path))
        return scan(path, **options)

    monkeypatch.setattr(pl, "scan_parquet", note)
    with pytest.raises(InvalidInput, match="these rows cannot be read") as refused:
        scorer.run_job(job)
    assert (refused.value.value, opened) == ("the rows to score", [])
    assert scorer.run_job(scorer.start())["rows"] == 3  # type: ignore[index]


def test_no_rows_are_no_answers(scorer: Scorer) -> None:
    done = scorer.run_job(scorer.start(ROWS.head(0)))
    assert (scorer.answers(done).height, scorer.chunks()) == (0, [])


def test_scores_of_classes_keep_every_probability(scorer: Scorer) -> None:
    signature = Signature(INPUTS[:1], "multiclass", list("abc"))
    version = scorer.register("constant", {"value": [0.2, 0.7, 0.1]}, signature)
    done = scorer.run_job(scorer.start(version=version))
    assert scorer.answers(done)["answer"][0] == '{"class":"b","probabilities":{"a":0.2,"b":0.7,"c":0.1}}'


def test_a_model_that_ends_its_process_fails_its_own_job_alone(scorer: Scorer) -> None:
    fails = {"load": "ended with status 3", "predict": "SIGABRT", "shape": "does not answer every row once"}
    for fails_at in fails:
        scorer.start(version=scorer.register("fragile", {"fails_at": fails_at}, Signature(INPUTS, "binary")))
    scorer.start()
    *failed, done = scorer.run_all()
    assert (done.state, len(scorer.logged())) == ("done", 3)
    for version, (job, said) in enumerate(zip(failed, fails.values(), strict=True), 2):
        assert job.state == "failed"
        assert job.error["message"].startswith(f"late/{version} did not answer rows 0 to 2: ")
        assert said in job.error["message"]


def test_a_model_that_never_answers_is_stopped_with_its_job(scorer: Scorer, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    document = {"fails_at": "never", "begun": str(begun)}
    job = scorer.start(version=scorer.register("fragile", document, Signature(INPUTS, "binary")))
    scorer.stops_once = begun
    with pytest.raises(StepFailed, match=r"late/2 did not answer .*stopped"):
        scorer.run_job(job)


def test_ids_of_rows_are_prediction_ids_that_grow() -> None:
    ids = score_ids("job_1", 1_700_000_000_000_000, 0, 1000)
    assert ids == sorted(set(ids))
    assert ids[400:] == score_ids("job_1", 1_700_000_000_000_000, 400, 600)
    assert set(ids).isdisjoint(score_ids("job_2", 1_700_000_000_000_000, 0, 1000))


def test_a_blob_ref_is_needed(scorer: Scorer) -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        scorer.loop("serving.start_score", deployment="late", input=BlobRef("0" * 64, 0))
