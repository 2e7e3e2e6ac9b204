"""What a step of a pipeline costs beyond its own work: records, events, checkpoint and the call in a warm child."""

import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from frame import Bench, Platform, platform, settle

from loopwright.kernel.code import CodeRef
from loopwright.pipelines import Execution, PipelineSpec, StepSpec, packing

STEPS = 30
CODE = "def plus_one(x):\n    return x + 1\n"


def plus_one(x: int) -> int:
    return x + 1


def chain(code: CodeRef, *, is_cached: bool) -> PipelineSpec:
    """Return a pipeline in which each step takes what the one before it made."""
    steps = [
        StepSpec(
            f"s{place}",
            "call",
            {"x": {"step": f"s{place - 1}"} if place else {"value": 0}},
            code,
            is_cached=is_cached,
        )
        for place in range(STEPS)
    ]
    return PipelineSpec("cached" if is_cached else "fresh", steps)


def run(at: Platform, spec: PipelineSpec) -> Execution:
    at.remote.call("pipelines.declare", spec=spec)
    started: Execution = at.remote.call("pipelines.start", pipeline=spec.name, reason="benchmark")
    while True:
        found: Execution = at.remote.call("pipelines.get", execution_id=started.execution_id)
        if found.state in ("done", "failed"):
            assert found.state == "done", found.error
            return found
        time.sleep(0.2)


def ms_a_step(execution: Execution) -> float:
    """Return the median time from the end of one step to the end of the next: all that a step takes."""
    ends = sorted(step.finished_at for step in execution.steps if step.finished_at is not None)
    return statistics.median(after - before for before, after in pairwise(ends)) / 1e3


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
        bench.progress(f"a chain of {STEPS} steps")
        fresh = run(at, chain(code, is_cached=False))
        bench.progress("the same with the cache, twice")
        spec = chain(code, is_cached=True)
        run(at, spec)
        cached = run(at, spec)
        assert all(step.is_from_cache for step in cached.steps)
    name = "ProcessPoolExecutor, warm, nothing recorded"
    bench.claim("trivial step in a warm child", ms_a_step(fresh), "ms", rival=rival, rival_name=name, goal="< 3.9")
    bench.claim("cached step", ms_a_step(cached), "ms", rival=rival, rival_name=name, goal="< 1.1")
    bench.finish()


if __name__ == "__main__":
    main()
