"""Single-row predictions over HTTP, every one logged, against plain FastAPI with the same model, which logs nothing."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from frame import HERE, Bench, load, platform, rival_python, serve_model, settle, write_booster

from loopwright.server import free_port

OURS = "/v1/bench/deployments/late/predict"
RIVAL = "FastAPI + pydantic + uvicorn, same model file, no log"


@contextmanager
def rival_server(model: Path) -> Iterator[int]:
    """Yield the port of the rival's server."""
    port = free_port()
    options = ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    command = [rival_python("gateway"), "-m", "uvicorn", "rival_gateway:app", *options]
    process = subprocess.Popen(command, cwd=HERE, env={**os.environ, "MODEL_FILE": str(model), "PYTHONPATH": ""})
    try:
        while process.poll() is None:
            with suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/docs")
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def compare(bench: Bench, connections: int, ours: dict[str, Any], rival: dict[str, Any]) -> None:
    where = f"single row, {connections} connection{'s'[: connections - 1]}"
    for key, unit, goal in (("requests_s", "requests/s", "ratio >= 2"), ("p50_ms", "ms", ""), ("p99_ms", "ms", "")):
        what = f"{where}, {key.partition('_')[0]}"
        bench.claim(what, ours[key], unit, rival=rival[key], rival_name=RIVAL, goal=goal)


def main() -> None:
    bench = Bench("gateway")
    bench.progress("environment of the rival")
    rival_python("gateway")
    with platform() as at:
        model, bodies = at.supervisor.settings.state_dir / "late.txt", at.supervisor.settings.state_dir / "bodies"
        rows = write_booster(model)
        named = [{f"x{place}": value for place, value in enumerate(row)} for row in rows]
        bodies.write_text("\n".join(json.dumps({"rows": [row]}) for row in named))
        serve_model(at, model)
        with rival_server(model) as rival_port:
            for port, path in ((at.supervisor.settings.gateway_port, OURS), (rival_port, "/predict")):
                load(port, path, bodies, 1, 0.1)
            settle(at)
            for connections in (1, 32):
                bench.progress(f"{connections} connections")
                ours = load(at.supervisor.settings.gateway_port, OURS, bodies, connections)
                compare(bench, connections, ours, load(rival_port, "/predict", bodies, connections))
    bench.finish()


if __name__ == "__main__":
    main()
