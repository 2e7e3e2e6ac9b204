"""What a step of a pipeline costs beyond its own work: records, events, checkpoint and the call in a warm child.

Whole executions are timed as who starts them sees it, from the call until the execution has ended, through server and
worker. A step is what a longer chain takes more than a shorter one, so that claiming the job counts for none.
"""

import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from frame import Bench, Platform, platform, settle

from loopwright.kernel.code import CodeRef
from loopwright.pipelines import Execution, PipelineSpec, StepSpec, packing

SHORT, LONG = 30, 130
ROUNDS = 7
CODE = "def plus_one(x):\n    return x + 1\n"


def plus_one(x: int) -> int:
    return x + 1


def chain(code: CodeRef, length: int, name: str, *, is_cached: bool) -> PipelineSpec:
    """Return a pipeline in which each step takes what the one before it made."""
    steps = [
        StepSpec(
            f"s{place}",
            "call",
            {"x": {"step": f"s{place - 1}"} if place else {"value": 0}},
            code,
            is_cached=is_cached,
        )
        for place in range(length)
    ]
    return PipelineSpec(name, steps)


def run(at: Platform, spec: PipelineSpec) -> float:
    """Execute a pipeline for the first time and return how many milliseconds it took."""
    at.remote.call("pipelines.declare", spec=spec)
    ended = {"pipeline": spec.name, "states": ["done", "failed"]}
    begun = time.perf_counter()
    started: Execution = at.remote.call("pipelines.start", pipeline=spec.name, reason="benchmark")
    while not at.remote.caller.call("pipelines.list", ended, at.remote.project, wait_s=10):
        pass
    took_s = time.perf_counter() - begun
    found: Execution = at.remote.call("pipelines.get", execution_id=started.execution_id)
    assert found.state == "done", found.error
    assert all(step.is_from_cache == spec.name.startswith("known") for step in found.steps)
    return took_s * 1e3


def ms_a_step(at: Platform, code: CodeRef, *, is_cached: bool) -> float:
    """Return what a step takes of a chain, from medians of the times of two lengths, which are run in turns."""
    took: dict[int, list[float]] = {SHORT: [], LONG: []}
    if is_cached:
        run(at, chain(code, LONG, "first", is_cached=True))
    for turn in range(ROUNDS):
        for length, times in took.items():
            name = f"{'known' if is_cached else 'new'}-{length}-{turn}"
            times.append(run(at, chain(code, length, name, is_cached=is_cached)))
    return (statistics.median(took[LONG]) - statistics.median(took[SHORT])) / (LONG - SHORT)


def bare_call_ms() -> float:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(plus_one, 0).result()
        took = []
        for number in range(300):
            started = time.perf_counter()
            pool.submit(plus_one, number).result()
            took.append(time.perf_counter() - started)
    return statistics.median(took) * 1e3


def main() -> None:
    bench = Bench("steps")
    rival = bare_call_ms()
    with platform() as at, TemporaryDirectory() as name:
        Path(name, "project.py").write_text(CODE)
        digest = at.remote.caller.put_blob("bench", packing.pack_project(Path(name)))["digest"]
        code = CodeRef(digest, "project", "plus_one", "0" * 64)
        settle(at)
        bench.progress(f"chains of {SHORT} and {LONG} steps")
        fresh = ms_a_step(at, code, is_cached=False)
        bench.progress("the same from the cache")
        cached = ms_a_step(at, code, is_cached=True)
    name = "ProcessPoolExecutor, warm, nothing recorded"
    bench.claim("trivial step in a warm child", fresh, "ms", rival=rival, rival_name=name, goal="< 3.9")
    bench.claim("cached step", cached, "ms", rival=rival, rival_name=name, goal="< 1.1")
    bench.finish()


if __name__ == "__main__":
    main()
