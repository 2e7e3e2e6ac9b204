"""Playing a backtest: a scratch project begins with what was known, and then each hour comes as it came."""

from collections.abc import Callable

import msgspec
import polars as pl

from loopwright import data, pipelines, registry
from loopwright.data import read
from loopwright.governance import audit
from loopwright.kernel.clock import DAY_US, format_moment
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput, NotFound, StepFailed
from loopwright.kernel.events import event_type
from loopwright.loop.apply import apply, named_blobs
from loopwright.loop.backtest import backtests, history
from loopwright.loop.backtest.driver import Replay
from loopwright.loop.backtest.history import Frames
from loopwright.loop.backtest.narrowing import first_training
from loopwright.loop.backtest.world import ScratchWorld, wait_until
from loopwright.loop.events import Trained
from loopwright.loop.exports import start_closing_table
from loopwright.loop.types import Backtest, ClosingTable, ProjectSpec
from loopwright.pipelines import Execution
from loopwright.registry import ModelVersion
from loopwright.store.work import JobContext

EXECUTION_ENDED = ("done", "failed", "cancelled")
Tell = Callable[[str], None]


def play(context: JobContext, backtest_id: str) -> dict[str, str | None]:
    """Play a backtest and keep its closing table; one that an earlier attempt left unfinished starts over.

    Returns:
        The backtest, and the scratch project where it stays.
    """
    backtest = context.call(backtests.get_backtest, backtest_id=backtest_id)
    if backtest.closing is None:
        backtest = context.call(backtests.begin_backtest, backtest_id=backtest_id, token_digest=context.token_digest)
        closing = _play(context, backtest)
        backtest = context.call(backtests.finish_backtest, backtest_id=backtest_id, closing=closing)
    return {"backtest_id": backtest_id, "project": backtest.scratch if backtest.keeps_project else None}


def _play(context: JobContext, backtest: Backtest) -> ClosingTable:
    assert backtest.scratch is not None  # it has just begun
    again = f"started over, attempt {backtest.attempt}: " if backtest.attempt > 1 else ""

    def tell(text: str) -> None:
        context.progress(f"{again}{text}")

    tell("reading what is stored")
    spec = context.call(backtests.backtest_spec, backtest_id=backtest.backtest_id)
    frames = {name: _read(context, name, version) for name, version in backtest.versions.items()}
    requests, last_label_at = history.requests_of(spec, frames, backtest.start_at, backtest.end_at)
    world = ScratchWorld(context.within(backtest.scratch))
    world.wait_until_let_in()
    _set_up(context, world, spec, backtest)
    _seed(world, spec, frames, backtest.start_at, tell)
    _first_model(world, spec, backtest, tell)
    replay = Replay(world, backtest.deployment, history.streams_of(spec, frames), requests)
    span = backtest.end_at - backtest.start_at
    for now in replay.run(backtest.start_at, backtest.end_at, day_starts_at=backtest.start_at):
        tell(f"{format_moment(now)[:13]}h  {min(1.0, (now - backtest.start_at) / span):4.0%}")
    tell("the last labels")
    replay.settle(max(backtest.end_at + DAY_US, last_label_at))
    tell("the closing table")
    job = world.project.call(
        start_closing_table,
        deployment=backtest.deployment,
        start_at=backtest.start_at,
        end_at=backtest.end_at,
        zone=backtest.zone,
    )
    return convert(world.wait(job).result, ClosingTable)


def _read(context: JobContext, dataset: str, version: int) -> pl.DataFrame:
    """Return the rows of a version as they are stored."""
    stored = context.call(data.get_version, dataset=dataset, version=version)
    return read.scan(stored, context.blobs).collect()


def _set_up(context: JobContext, world: ScratchWorld, spec: ProjectSpec, backtest: Backtest) -> None:
    """Declare in the scratch project what is played, with its code."""
    for digest in named_blobs(spec):
        world.project.put_blob(context.blobs.path(digest).read_bytes())
    moved = msgspec.structs.replace(spec, name=world.project.project, clock_at=backtest.start_at)
    world.project.call(apply, spec=moved)


def _seed(world: ScratchWorld, spec: ProjectSpec, frames: Frames, start_at: int, tell: Tell) -> None:
    """Import what was known at the start."""
    tell("importing what was known at the start")
    started = []
    for dataset in spec.datasets:
        known = history.known_by(spec, dataset, frames[dataset.name], start_at)
        started.append(world.dataset(dataset.name).append(known, replace=True, reason="what was known at the start"))
    for job in started:
        world.wait(job)


def _first_model(world: ScratchWorld, spec: ProjectSpec, backtest: Backtest, tell: Tell) -> None:
    """Train and release the first version; the yardsticks start from it too."""
    deployment, train = spec.deployments[0], first_training(spec)
    started = world.project.call(pipelines.start, pipeline=train.name, params={}, reason="the first model")

    def look() -> Execution:
        return world.project.call(pipelines.get, execution_id=started.execution_id)

    def tell_steps(execution: Execution) -> None:
        done = sum(step.state in ("done", "skipped") for step in execution.steps)
        tell(f"the first model: {done} of {len(execution.steps)} steps done")

    ended = wait_until(look, lambda execution: execution.state in EXECUTION_ENDED, tell_steps)
    if ended.state != "done":
        raise _training_error(ended, backtest)
    world.advance(backtest.start_at)  # comes to rest: what follows from the training has followed
    champion = _champion(world, deployment.model)
    for alias in deployment.follow:
        moved = {"alias": alias, "reason": "yardstick"}
        world.project.call(registry.set_alias, model=deployment.model, version=champion.version, **moved)
    world.advance(backtest.start_at)  # answers when gateways serve it, so that no pushed row comes too early


def _training_error(execution: Execution, backtest: Backtest) -> StepFailed:
    hint = f"loopwright logs {execution.execution_id} --project {backtest.scratch}"
    return StepFailed(
        (execution.error or {}).get("message", "the first training failed"),
        next_step=hint if backtest.keeps_project else "with --keep its project stays to be looked into",
    )


def _champion(world: ScratchWorld, model: str) -> ModelVersion:
    """Return the first version, which is released by now.

    Raises:
        InvalidInput: Its gates did not let it pass.
        StepFailed: They did, and it was not released.
    """
    try:
        return world.project.call(registry.get_version, model=model, alias="champion")
    except NotFound:
        trained = world.project.call(audit.list_events, type_prefix=event_type(Trained), limit=1)
    if trained and not trained[0].read(Trained).passed:
        raise InvalidInput(
            "the first model did not pass its gates",
            field="start_at",
            value=trained[0].reason,
            next_step="start later, with more rows, or try a policy with other gates",
        )
    raise StepFailed("the first model was not released", next_step="loopwright status names what needs a person")
