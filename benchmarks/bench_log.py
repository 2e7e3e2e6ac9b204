"""The prediction log: what writing a row to the spool costs, against a bare write of the same bytes."""

import os
import statistics
import time

import numpy as np
from frame import Bench, scratch

from loopwright.gateway.log.batches import Batch, Layout, StreamKey
from loopwright.gateway.log.spool import Spool
from loopwright.kernel.ids import new_ids

ROWS = 32
BATCHES = 3000
KEY = StreamKey("bench", "predictions", "late")
FIXED = [("prediction_id", "str"), ("row_key", "str"), ("event_at", "i64"), ("recorded_at", "i64")]
REST = [("latency_us", "i64"), ("score", "f64"), ("answer", "str"), ("error", "str"), ("missing", "str")]
COLUMNS = (*FIXED, *REST, ("bucket", "f64"), *((f"f.x{place}", "f64") for place in range(30)))
CONSTANTS = (("release", "i64", 1), ("variant", "str", "champion"), ("model_version", "i64", 1))


def make_batches() -> list[Batch]:
    chance = np.random.default_rng(0)
    layout = Layout(COLUMNS, (*CONSTANTS, ("is_shadow", "bool", False)))
    now = time.time_ns() // 1000
    batches = []
    for _ in range(BATCHES):
        none: list[None] = [None] * ROWS
        moments = [now] * ROWS
        features = chance.normal(size=(30, ROWS)).tolist()
        head = [new_ids("p", ROWS, now), none, moments, moments, [700] * ROWS, chance.random(ROWS).tolist()]
        batches.append(Batch(layout, ROWS, [*head, none, none, none, chance.random(ROWS).tolist(), *features]))
    return batches


def main() -> None:
    bench = Bench("log")
    bench.progress(f"{BATCHES} batches of {ROWS} rows with 30 numbers")
    batches = make_batches()
    with scratch() as folder:
        spool = Spool(folder / "spool")
        took = []
        for batch in batches:
            started = time.perf_counter()
            spool.append(KEY, [batch])
            took.append(time.perf_counter() - started)
        stream = spool.streams[KEY]
        size = stream.size
        spool.close()
        body = bytes(size // BATCHES)
        handle = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        bare = []
        for _ in range(BATCHES):
            started = time.perf_counter()
            os.write(handle, body)
            bare.append(time.perf_counter() - started)
        os.close(handle)
    name = f"bare write() of the same {size / BATCHES / ROWS:.0f} bytes a row"
    ours, rival = (statistics.median(times) / ROWS * 1e6 for times in (took, bare))
    bench.claim("spool append a row, batches of 32", ours, "us", rival=rival, rival_name=name)
    mean_ours, mean_rival = (sum(times) / BATCHES / ROWS * 1e6 for times in (took, bare))
    bench.claim("the same, mean", mean_ours, "us", rival=mean_rival, rival_name=name)
    bench.finish()


if __name__ == "__main__":
    main()
