"""What waiting for Loopwright costs: its import, ``loopwright up`` until the first healthy answer, memory when idle."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
from frame import Bench, scratch, settings_in

IMPORT = "import time; s = time.perf_counter(); import loopwright; print(time.perf_counter() - s)"
UP = "from loopwright.cli import main; main()"
IDLE_S = 5.0


def import_ms() -> float:
    def once() -> float:
        printed = subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout
        return float(printed) * 1e3

    once()
    return statistics.median(once() for _ in range(7))


def is_healthy(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    return False


def memory_mb(pids: list[int], field: str) -> float:
    """Return the sum of one line of ``smaps_rollup``; Pss shares out what processes have in common."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return total / 1024


def main() -> None:
    bench = Bench("start")
    bench.progress("import")
    bench.claim("import loopwright, median of 7", import_ms(), "ms", goal="< 100")
    with scratch() as folder:
        settings = settings_in(folder)
        environment = {
            **os.environ,
            "LOOPWRIGHT_STATE": str(folder),
            "LOOPWRIGHT_PORT": str(settings.port),
            "LOOPWRIGHT_GATEWAY_PORT": str(settings.gateway_port),
        }
        bench.progress("loopwright up on an empty folder")
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", UP, "up"], env=environment, stdout=subprocess.DEVNULL)
        waiting = [f"http://127.0.0.1:{port}" for port in (settings.port, settings.gateway_port)]
        took: list[float] = []
        try:
            while waiting and process.poll() is None:
                if is_healthy(waiting[0]):
                    took.append(time.perf_counter() - started)
                    waiting.pop(0)
                time.sleep(0.02)
            bench.claim("up to the server's first healthy answer", took[0], "s", goal="< 4")
            bench.claim("up to the gateway's too", took[1], "s", goal="< 4")
            bench.progress(f"idle for {IDLE_S:g} s")
            time.sleep(IDLE_S)
            pids = list(json.loads(settings.server_file.read_text())["pids"].values())
            what = "server + worker + gateway, idle"
            bench.claim(f"{what}, resident memory summed", memory_mb(pids, "Rss"), "MB", goal="< 450")
            bench.claim(f"{what}, shared pages counted once", memory_mb(pids, "Pss"), "MB", goal="< 450")
        finally:
            process.terminate()
            process.wait(30)
    bench.finish()


if __name__ == "__main__":
    main()
