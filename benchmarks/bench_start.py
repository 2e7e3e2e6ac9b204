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
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def import_ms() -> float:
    def once() -> float:
        command = [sys.executable, "-c", IMPORT]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
        return float(printed.stdout) * 1e3

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


class Up:
    """``loopwright up`` on an empty folder.

    Args:
        folder: The state folder.
    """

    def __init__(self, folder: Path) -> None:
        settings = settings_in(folder)
        self._server_file = settings.server_file
        environment = {
            **ENVIRONMENT,
            "LOOPWRIGHT_STATE": str(folder),
            "LOOPWRIGHT_PORT": str(settings.port),
            "LOOPWRIGHT_GATEWAY_PORT": str(settings.gateway_port),
        }
        started = time.perf_counter()
        self.process = subprocess.Popen([sys.executable, "-c", UP, "up"], env=environment, stdout=subprocess.DEVNULL)
        self.healthy_s = []
        for port in (settings.port, settings.gateway_port):
            while not is_healthy(f"http://127.0.0.1:{port}") and self.process.poll() is None:
                time.sleep(0.02)
            self.healthy_s.append(time.perf_counter() - started)

    def pids(self) -> list[int]:
        """Return the processes of the platform, without ``up`` itself."""
        return list(json.loads(self._server_file.read_text())["pids"].values())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def main() -> None:
    bench = Bench("start")
    bench.progress("import")
    bench.claim("import loopwright, median of 7", import_ms(), "ms", goal="< 100")
    with scratch() as folder:
        bench.progress("a first start, not measured: Python compiles what it imports")
        Up(folder / "first").stop()
        bench.progress("loopwright up on an empty folder")
        up = Up(folder / "second")
        try:
            bench.claim("up to the server's first healthy answer", up.healthy_s[0], "s", goal="< 1.4")
            bench.claim("up to the gateway's too", up.healthy_s[1], "s", goal="< 1.4")
            bench.progress(f"idle for {IDLE_S:g} s")
            time.sleep(IDLE_S)
            what = "server + worker + gateway, idle"
            bench.claim(f"{what}, resident memory summed", memory_mb(up.pids(), "Rss"), "MB", goal="< 250")
            bench.claim(f"{what}, shared pages counted once", memory_mb(up.pids(), "Pss"), "MB", goal="< 250")
        finally:
            up.stop()
    bench.finish()


if __name__ == "__main__":
    main()
