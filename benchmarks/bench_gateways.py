"""A gateway's sign of life costs the same however many others there are: 10,000 of them, on SQLite."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from frame import Bench, scratch, settings_in

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US
from loopwright.rooms import import_rooms
from loopwright.server.process import open_database
from loopwright.serving import forget_gateways
from loopwright.serving.tables import gateways

KNOWN = 10_000


def gateway_rows(lease_until: int) -> list[dict[str, Any]]:
    """Return the leases of many gateways, with what each of them could not load."""
    trouble = {"gateway": "", "project": "bench", "deployment": "late", "number": 1, "why": "its blob is gone"}
    return [
        {
            "project_id": SYSTEM,
            "gateway": f"gateway-{number:05}",
            "address": f"http://10.0.{number // 256}.{number % 256}:8701",
            "acknowledged": 1,
            "lease_until": lease_until,
            "failures": [{**trouble, "gateway": f"gateway-{number:05}"}],
            "troubles": [],
        }
        for number in range(KNOWN)
    ]


def median_ms(work: Callable[[int], Any], times: int = 201) -> float:
    work(0)
    took = []
    for number in range(times):
        began = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def main() -> None:
    import_rooms()
    bench = Bench("gateways")
    with scratch() as folder:
        database = open_database(settings_in(folder))
        dispatcher = Dispatcher(database)
        dispatcher.call("projects.create", {"name": "bench", "owner": "bench"}, actor=LOCAL_ACTOR, project=SYSTEM)

        def beat(number: int) -> None:
            args = {"gateway": f"gateway-{number * 7:05}", "address": "http://10.0.0.1:8701", "position": 1}
            dispatcher.call("serving.acknowledge", args, actor=SERVICE_ACTOR, project=SYSTEM)

        alone = median_ms(lambda _: beat(0))
        bench.progress(f"{KNOWN:,} gateways")
        until = dispatcher.wall.now_us() + DAY_US
        rows = [row for row in gateway_rows(until) if row["gateway"] != "gateway-00000"]
        database.write(lambda connection: connection.execute(gateways.insert(), rows))
        took, rival = median_ms(beat), "the only gateway there is, same file"
        bench.claim(f"a sign of life among {KNOWN:,} gateways", took, "ms", rival=alone, rival_name=rival, goal="< 5")
        forget = lambda _: dispatcher.write(SYSTEM, SERVICE_ACTOR, forget_gateways)  # noqa: E731
        took = median_ms(forget, times=21)
        bench.claim(f"a look for gateways to forget, of {KNOWN:,}", took, "ms", rival=alone, rival_name=rival)
        database.close()
    bench.finish()


if __name__ == "__main__":
    main()
