"""Backtest: the same loop over a stretch of history, in a scratch project, under the policy to try."""

import io
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import polars as pl

from loopwright.cli.closing import closing_table, print_table
from loopwright.cli.project import follow_execution, load_project
from loopwright.cli.serving import wait_for_job
from loopwright.cli.show import Progress, print_json
from loopwright.client import Remote, Replay, Requests, Stream, to_parquet, to_spec
from loopwright.data import DatasetSpec, SourceSpec
from loopwright.governance import SYSTEM
from loopwright.kernel.clock import DAY_US, WallClock, format_moment, parse_moment
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.loop import ProjectSpec
from loopwright.serving import ApproveSpec

_COMPLETE = "_complete_at"


def run_backtest(remote: Remote, deployment: str, start: str, end: str, policy: Path | None, as_json: bool) -> None:
    """Replay ``[start, end)`` under the applied policy or that of a project file, and print the closing table.

    The scratch project has its own rows, releases and incidents; the original is only read.
    """
    start_at, end_at = parse_moment(start, "--from"), parse_moment(end, "--to")
    if end_at <= start_at:
        raise InvalidInput("the stretch is empty", field="--to", value=end, rule="after --from")
    spec, packed = _spec(remote, policy)
    scratch = _scratch(remote, spec, packed, deployment, start_at)
    frames = {dataset.name: _read(remote, dataset.name) for dataset in spec.datasets}
    _seed(scratch, spec, frames, start_at)
    _first_model(scratch, spec, deployment)
    replay = Replay(scratch, deployment, _streams(spec, frames), _requests(spec, frames, deployment))
    progress = Progress()
    for now in replay.run(start_at, end_at, day_starts_at=start_at):
        progress.show(f"{format_moment(now)[:13]}h  {(now - start_at) / (end_at - start_at):4.0%}")
    replay.settle(end_at + 2 * DAY_US)
    progress.done()
    table = closing_table(scratch, deployment, start_at, end_at)
    print_json(table) if as_json else print_table(table)
    if not as_json:
        click.echo(f"every step of it is on record in project {scratch.project}")


def _spec(remote: Remote, policy: Path | None) -> tuple[ProjectSpec, bytes]:
    if policy is not None:
        return to_spec(load_project(policy))
    applied: ProjectSpec = remote.call("loop.spec")
    packed = remote.caller.get_blob(remote.project, applied.code_digest) if applied.code_digest else b""
    return applied, packed


def _scratch(remote: Remote, spec: ProjectSpec, packed: bytes, deployment: str, start_at: int) -> Remote:
    """Make the scratch project: a replay clock at the start, pushed datasets, no person in the way."""
    name = f"{remote.project}-backtest-{WallClock().now_us() // 1_000_000}"
    head = {"name": name, "owner": spec.owner, "risk": spec.risk, "clock": "replay", "clock_at": start_at}
    remote.caller.call("projects.create", head, SYSTEM)
    scratch = Remote(name, remote.caller)
    if packed:
        remote.caller.put_blob(name, packed)
    by_policy = ApproveSpec("policy", "policy")
    deployments = [
        msgspec.structs.replace(one, approve=by_policy) for one in spec.deployments if one.name == deployment
    ]
    changed = msgspec.structs.replace(
        spec,
        name=name,
        clock="replay",
        clock_at=start_at,
        datasets=[msgspec.structs.replace(one, source=SourceSpec("push")) for one in spec.datasets],
        deployments=deployments,
        monitors={key: monitor for key, monitor in spec.monitors.items() if key == deployment},
        retrains=[one for one in spec.retrains if one.deployment == deployment],
    )
    scratch.call("loop.apply", spec=to_builtins(changed))
    return scratch


def _read(remote: Remote, dataset: str) -> pl.DataFrame:
    version = remote.call("data.get_version", dataset=dataset)
    bodies = [remote.caller.get_blob(remote.project, fragment.digest) for fragment in version.fragments]
    return pl.concat([pl.read_parquet(io.BytesIO(body)) for body in bodies], how="diagonal_relaxed")


def _complete_at(dataset: DatasetSpec) -> pl.Expr:
    """Return when a row is complete: at the last of its known-at moments, or a day after the event."""
    assert dataset.time is not None
    event = pl.col(dataset.time)
    moments = [pl.col(one.column) + pl.duration(microseconds=one.after_us) for one in dataset.known_at.values()]
    late = [pl.coalesce(moment, event + pl.duration(days=1)) for moment in moments]
    return pl.max_horizontal(event, *late).alias(_COMPLETE)


def _seed(scratch: Remote, spec: ProjectSpec, frames: dict[str, pl.DataFrame], start_at: int) -> None:
    jobs = []
    for dataset in spec.datasets:
        moment = pl.lit(start_at).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        known = frames[dataset.name].filter(_complete_at(dataset) <= moment)
        if known.height == 0:
            raise InvalidInput(
                f"nothing of dataset {dataset.name} was known by then", field="--from", next_step="start later"
            )
        blob = scratch.caller.put_blob(scratch.project, to_parquet(known))
        jobs.append(
            scratch.call(
                "data.start_import",
                dataset=dataset.name,
                operation="replace",
                blobs=[blob],
                reason="what was known at the start",
            )
        )
    for job in jobs:
        wait_for_job(scratch, job.job_id)


def _first_model(scratch: Remote, spec: ProjectSpec, deployment: str) -> None:
    model = next(one.model for one in spec.deployments if one.name == deployment)
    train = next((one.name for one in spec.trains if one.model == model and not one.alias), None)
    if train is None:
        raise InvalidInput("no training makes this deployment's model", field="deployment", value=deployment)
    execution = scratch.call("pipelines.start", pipeline=train, params={}, reason="the first model of the backtest")
    follow_execution(scratch, execution.execution_id)
    for _ in range(600):
        try:
            champion = scratch.call("registry.get_version", model=model, alias="champion")
        except NotFound:
            time.sleep(0.1)
            continue
        followed = {alias for one in spec.deployments for alias in one.follow}
        for alias in sorted(followed):
            scratch.call("registry.set_alias", model=model, alias=alias, version=champion.version, reason="yardstick")
        return
    raise InvalidInput(
        "the first model did not pass its gates", field="--from", next_step="start later, with more rows"
    )


def _streams(spec: ProjectSpec, frames: dict[str, pl.DataFrame]) -> list[Stream]:
    return [Stream(one.name, frames[one.name].with_columns(_complete_at(one)), _COMPLETE) for one in spec.datasets]


def _requests(spec: ProjectSpec, frames: dict[str, pl.DataFrame], deployment: str) -> Requests:
    """Return each row of the label's dataset as the request it would have been."""
    model = next(one.model for one in spec.deployments if one.name == deployment)
    name = next(one.service for one in spec.trains if one.model == model)
    service = next(one for one in spec.services if one.name == name)
    dataset = next(one for one in spec.datasets if one.name == service.label.dataset)
    inputs = [column for one in spec.requests if one.name in service.requests for column in one.inputs]
    entities = [view.entity for view in spec.views if view.name in service.views]
    known = dataset.known_at.get(service.label.column) or dataset.known_at.get("*")
    assert dataset.time is not None
    label_at = pl.col(known.column) + pl.duration(microseconds=known.after_us) if known else pl.col(dataset.time)
    kept = list(dict.fromkeys([*dataset.key, dataset.time, *inputs, *entities]))
    rows: Any = frames[dataset.name].select(
        *kept,
        pl.col(dataset.time).alias("event_at"),
        pl.col(service.label.column).alias("_label"),
        label_at.alias("_label_at"),
    )
    return Requests(rows, event_at="event_at", label="_label", label_at="_label_at")
