"""Jobs: references from blobs, alerts to channels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.governance import Actor, Dispatcher
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.monitoring import Monitor, MonitorSpec, reference_from_bytes
from tests.monitoring.conftest import DAY, Worker, make_traffic

SUBJECT = "flights/deployment:late"


def test_a_reference_is_profiled_from_a_blob(worker: Worker, served: Callable[..., Monitor]) -> None:
    served(MonitorSpec(DAY, over_us=2 * DAY))
    rows = make_traffic(6_000, np.random.default_rng(0)).with_columns(
        at=pl.Series(np.arange(6_000) * (DAY // 300)).cast(pl.Datetime("us", "UTC"))
    )
    path = worker.state_dir / "train.parquet"
    rows.write_parquet(path)
    blob = worker.blobs.put_file(path)
    sizes = {"digest": blob.digest, "size_bytes": blob.size_bytes}
    args = {"deployment": "late", "blob": sizes, "time": "at", "score": "score"}
    worker.call("monitoring.start_reference", args, "flights")
    [job] = worker.run()
    assert (job.result["rows"], job.result["columns"]) == (6_000, 4)
    found = worker.call("monitoring.get", {"deployment": "late"}, "flights")
    reference = reference_from_bytes(worker.blobs.get(found.reference))
    assert (reference.every_us, reference.over_us, reference.metric) == (DAY, 2 * DAY, "psi")
    assert reference.usual


def test_an_editor_does_not_choose_what_a_model_that_is_served_here_is_compared_with(
    worker: Worker, served: Callable[..., Monitor], dispatcher: Dispatcher
) -> None:
    served(MonitorSpec(DAY))
    path = worker.state_dir / "train.parquet"
    make_traffic(100, np.random.default_rng(0)).write_parquet(path)
    blob = worker.blobs.put_file(path)
    args = {"deployment": "late", "blob": to_builtins(blob), "metrics": {"roc_auc": 0.01}}
    editor = Actor("person:eve", {"flights": Role.EDITOR})
    with pytest.raises(PermissionDenied, match="compare a model that is served here"):
        dispatcher.call("monitoring.start_reference", args, actor=editor, project="flights")


def test_channels_hear_when_an_incident_opens_and_ends(
    worker: Worker, served: Callable[..., Monitor], caplog: pytest.LogCaptureFixture
) -> None:
    served(MonitorSpec(DAY, channels=["log"]))
    args: dict[str, Any] = {"subject": SUBJECT, "kind": "errors", "message": "12 of 99 predictions failed"}
    alert = worker.call("monitoring.raise_alert", {**args, "severity": "critical"}, "flights")
    worker.call("monitoring.raise_alert", {**args, "severity": "critical"}, "flights")
    worker.call("monitoring.resolve", {"incident_id": alert.incident_id, "reason": "restarted"}, "flights")
    with caplog.at_level("WARNING", "loopwright.alerts"):
        assert len(worker.run()) == 2
    assert sorted(caplog.messages) == [
        f"critical errors opened on {SUBJECT}: 12 of 99 predictions failed",
        f"critical errors resolved on {SUBJECT}: 12 of 99 predictions failed (restarted)",
    ]
