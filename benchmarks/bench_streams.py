"""A month of a stream at 1,000 rows a second costs ``why`` and a window what a day of it costs, by the index alone.

2.6 billion rows in 1.3 million chunks of two seconds, as two gateways seal them, none of them merged: the worst a
stream may be. Only the rows of the index are there, no bytes.
"""

import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from frame import Bench, insert_rows, percentile, scratch, settings_in

from loopwright.kernel.clock import DAY_US, MINUTE_US, SECOND_US
from loopwright.kernel.ids import encode_ulid
from loopwright.server.process import open_database
from loopwright.store import sql
from loopwright.store.engine import Connection, Database
from loopwright.store.intervals import shared_prefix, span_class
from loopwright.store.tables import chunks

DAY, MONTH = 43_200, 1_296_000
ROWS_A_CHUNK = 2_000
SEALED_US = 4 * SECOND_US
"""Each of two gateways seals every four seconds here, so that their chunks overlap."""
START_US = 1_700_000_000 * SECOND_US
BATCH = 50_000
ASKED = 300
WINDOW_US = 10 * MINUTE_US


def moment_of(number: int) -> int:
    """Return when a chunk begins."""
    return START_US + number // 2 * SEALED_US + number % 2 * SECOND_US


def id_at(at_us: int) -> str:
    """Return the id of a prediction at a moment."""
    return f"pred_{encode_ulid((at_us // 1000 << 80) | 12345)}"


def chunk_rows(first: int, count: int) -> list[dict[str, Any]]:
    """Return rows of the index."""
    rows = []
    for number in range(first, first + count):
        begin = moment_of(number)
        end = begin + SEALED_US - 1000
        ids = id_at(begin), id_at(end)
        rows.append(
            {
                "project_id": "bench",
                "chunk_id": f"chunk_{number:010}",
                "kind": "predictions",
                "stream": "late",
                "writer": f"gateway-{number % 2}",
                "seq": number,
                "digest": f"{number:064x}",
                "rows": ROWS_A_CHUNK,
                "size_bytes": 200_000,
                "id_first": ids[0],
                "id_last": ids[1],
                "id_prefix": shared_prefix(*ids),
                "event_at_min": begin,
                "event_at_max": end,
                "span_class": span_class(begin, end),
                "recorded_at": end,
            }
        )
    return rows


def filled(folder: Any, count: int) -> Database:
    """Return a database with so many chunks."""
    folder.mkdir()
    database = open_database(settings_in(folder))
    for first in range(0, count, BATCH):
        rows = chunk_rows(first, min(BATCH, count - first))
        database.write(partial(insert_rows, table=chunks, rows=rows))
    return database


def find_holder(connection: Connection, at_us: int) -> int:
    """Look up the chunks that may hold an id."""
    return len(sql.find_chunks(connection, "bench", "predictions", item_id=id_at(at_us)))


def find_window(connection: Connection, at_us: int) -> int:
    """Look up the chunks of ten minutes."""
    end_at = at_us + WINDOW_US
    return len(sql.find_chunks(connection, "bench", "predictions", stream="late", start_at=at_us, end_at=end_at))


def ask(database: Database, look_up: Callable[[Connection, int], int], span_us: int, seed: int) -> float:
    """Return the milliseconds of one look-up at a moment anywhere in the span."""
    at_us = START_US + random.Random(seed).randrange(DAY_US // 24, span_us - DAY_US // 24)
    with database.reading() as connection:
        started = time.perf_counter()
        assert look_up(connection, at_us)
        return (time.perf_counter() - started) * 1e3


def main() -> None:
    bench = Bench("streams")
    with scratch() as folder:
        bench.progress(f"{DAY:,} and {MONTH:,} chunks")
        day, month = filled(folder / "day", DAY), filled(folder / "month", MONTH)
        for label, look_up in (("why's look-up", find_holder), ("a window's look-up", find_window)):
            took: dict[str, list[float]] = {"day": [], "month": []}
            for seed in range(ASKED):  # by turns, so that a busy machine is as busy for both
                took["day"].append(ask(day, look_up, DAY_US, seed))
                took["month"].append(ask(month, look_up, 30 * DAY_US, seed))
            for name, of in (("median", statistics.median), ("p95", lambda values: percentile(values, 0.95))):
                bench.claim(
                    f"{label} in a month at 1,000 rows/s, {name}",
                    of(took["month"]),
                    "ms",
                    rival=of(took["day"]),
                    rival_name="the same in a day",
                    goal="ratio >= 0.5",
                )
        day.close()
        month.close()
    bench.finish()


if __name__ == "__main__":
    main()
