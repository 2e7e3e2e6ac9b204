"""Backtest: the same loop over a stretch of history, in a scratch project, under the policy to try."""

import io
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import polars as pl

from loopwright.cli.closing import closing_table, find_scope, print_table
from loopwright.cli.connection import scratch_name
from loopwright.cli.project import follow_execution, load_project
from loopwright.cli.serving import wait_for_job
from loopwright.cli.show import Progress, print_json
from loopwright.client import Remote, Replay, Requests, Stream, to_spec
from loopwright.data import DatasetSpec, SourceSpec
from loopwright.governance import SYSTEM
from loopwright.kernel.clock import DAY_US, WallClock, format_moment, parse_moment
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound, StepFailed
from loopwright.loop import ProjectSpec
from loopwright.serving import ApproveSpec

_COMPLETE = "_complete_at"
_RELEASE_TIMEOUT_S = 60.0


def run_backtest(
    remote: Remote, deployment: str, start: str, end: str, policy: Path | None, zone: str, as_json: bool
) -> None:
    """Replay ``[start, end)`` under the applied policy or that of a project file, and print the closing table.

    The scratch project has its own rows, releases and incidents; the original is only read. Its rows are replayed as
    they are stored, so the transforms of a policy file do not run again.
    """
    start_at, end_at = parse_moment(start, "--from"), parse_moment(end, "--to")
    if end_at <= start_at:
        raise InvalidInput("the stretch is empty", field="--to", value=end, rule="after --from")
    spec, packed = _spec(remote, deployment, policy)
    frames = {dataset.name: _read(remote, dataset.name) for dataset in spec.datasets}
    scratch = _scratch(remote, spec, packed, start_at)
    _seed(scratch, spec, frames, start_at)
    _first_model(scratch, spec, start_at)
    requests, last_label_at = _requests(spec, frames, start_at, end_at)
    replay = Replay(scratch, deployment, _streams(spec, frames), requests)
    progress = Progress()
    for now in replay.run(start_at, end_at, day_starts_at=start_at):
        progress.show(f"{format_moment(now)[:13]}h  {(now - start_at) / (end_at - start_at):4.0%}")
    replay.settle(max(end_at + DAY_US, last_label_at))
    progress.done()
    scope = msgspec.structs.replace(find_scope(scratch, deployment, start_at, end_at), zone=zone)
    table = closing_table(scratch, scope)
    if as_json:
        print_json(table)
        return
    print_table(table, scope)
    click.echo(
        f"every step of it is on record in project {scratch.project}; "
        f"loopwright delete {scratch.project} --reason WHY removes it"
    )


def _spec(remote: Remote, deployment: str, policy: Path | None) -> tuple[ProjectSpec, bytes]:
    """Return what is to be replayed, one deployment and all that it needs, and the packed code."""
    if policy is None:
        spec: ProjectSpec = remote.call("loop.spec")
        packed = remote.caller.get_blob(remote.project, spec.code_digest) if spec.code_digest else b""
    else:
        spec, packed = to_spec(load_project(policy))
    found = next((one for one in spec.deployments if one.name == deployment), None)
    if found is None:
        known = ", ".join(one.name for one in spec.deployments) or "none"
        raise NotFound(
            f"no deployment is named {deployment}", field="deployment", value=deployment, rule=f"declared: {known}"
        )
    if not any(one.model == found.model and not one.alias for one in spec.trains):
        raise InvalidInput(
            "no training makes this deployment's model, so that its history cannot be replayed",
            field="deployment",
            value=deployment,
            rule="a function under @p.train",
        )
    return _narrowed(spec, found.name, found.model), packed


def _narrowed(spec: ProjectSpec, deployment: str, model: str) -> ProjectSpec:
    """Return the spec for a scratch project: rows are pushed as they are stored, nobody is asked, nobody is told.

    Pipelines of the user's own and alert channels reach outside; they stay out.
    """
    by_policy = ApproveSpec("policy", "policy")
    return msgspec.structs.replace(
        spec,
        clock="replay",
        datasets=[msgspec.structs.replace(one, source=SourceSpec("push"), transform=None) for one in spec.datasets],
        pipelines=[],
        trains=[one for one in spec.trains if one.model == model],
        deployments=[
            msgspec.structs.replace(one, approve=by_policy) for one in spec.deployments if one.name == deployment
        ],
        monitors={
            name: msgspec.structs.replace(one, channels=[]) for name, one in spec.monitors.items() if name == deployment
        },
        retrains=[one for one in spec.retrains if one.deployment == deployment],
    )


def _scratch(remote: Remote, spec: ProjectSpec, packed: bytes, start_at: int) -> Remote:
    """Make the scratch project, with a replay clock at the start."""
    name = scratch_name(remote.project, WallClock().now_us())
    head = {"name": name, "owner": spec.owner, "risk": spec.risk, "clock": "replay", "clock_at": start_at}
    remote.caller.call("projects.create", head, SYSTEM)
    scratch = Remote(name, remote.caller)
    if packed:
        remote.caller.put_blob(name, packed)
    scratch.call("loop.apply", spec=to_builtins(msgspec.structs.replace(spec, name=name, clock_at=start_at)))
    return scratch


def _read(remote: Remote, dataset: str) -> pl.DataFrame:
    """Return the rows of the newest version, as they are stored: the transform has made them."""
    version = remote.call("data.get_version", dataset=dataset)
    bodies = [remote.caller.get_blob(remote.project, fragment.digest) for fragment in version.fragments]
    return pl.concat([pl.read_parquet(io.BytesIO(body)) for body in bodies], how="diagonal_relaxed")


def _complete_at(dataset: DatasetSpec, start_at: int) -> pl.Expr:
    """Return when a row is complete: at the last of its known-at moments, or a day after the event.

    Rows of a dataset without a time have been there from the start.
    """
    if dataset.time is None:
        return _moment(start_at).alias(_COMPLETE)
    event = pl.col(dataset.time)
    moments = [pl.col(one.column) + pl.duration(microseconds=one.after_us) for one in dataset.known_at.values()]
    late = [pl.coalesce(moment, event + pl.duration(days=1)) for moment in moments]
    return pl.max_horizontal(event, *late).alias(_COMPLETE)


def _moment(at_us: int) -> pl.Expr:
    return pl.lit(at_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _seed(scratch: Remote, spec: ProjectSpec, frames: dict[str, pl.DataFrame], start_at: int) -> None:
    """Import what was known at the start."""
    jobs = []
    for dataset in spec.datasets:
        known = frames[dataset.name].filter(_complete_at(dataset, start_at) <= _moment(start_at))
        if known.height == 0:
            raise InvalidInput(
                f"nothing of dataset {dataset.name} was known by then", field="--from", next_step="start later"
            )
        jobs.append(scratch.dataset(dataset.name).append(known, replace=True, reason="what was known at the start"))
    for job in jobs:
        wait_for_job(scratch, job.job_id)


def _first_model(scratch: Remote, spec: ProjectSpec, start_at: int) -> None:
    """Train and release the first version; the yardsticks start from it too."""
    deployment = spec.deployments[0]
    train = next(one for one in spec.trains if not one.alias)
    execution = scratch.call("pipelines.start", pipeline=train.name, params={}, reason="the first model")
    execution = follow_execution(scratch, execution.execution_id)
    if execution.state != "done":
        raise StepFailed(
            (execution.error or {}).get("message", "the first training failed"),
            next_step=f"loopwright logs {execution.execution_id} --project {scratch.project}",
        )
    champion = _wait_for_champion(scratch, deployment.model)
    for alias in deployment.follow:
        scratch.call(
            "registry.set_alias", model=deployment.model, alias=alias, version=champion.version, reason="yardstick"
        )
    scratch.advance(start_at)  # answers when gateways serve it, so that no pushed row comes too early for its views


def _wait_for_champion(scratch: Remote, model: str) -> Any:
    deadline = time.monotonic() + _RELEASE_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            return scratch.call("registry.get_version", model=model, alias="champion")
        except NotFound:
            told = scratch.call("audit.list", type_prefix="loop.trained", limit=1)
        if told and not told[0].payload["passed"]:
            raise InvalidInput(
                "the first model did not pass its gates",
                field="--from",
                value=told[0].reason,
                next_step="start later, with more rows",
            )
        time.sleep(0.1)
    raise StepFailed(
        "the first model was not released in time", next_step=f"loopwright status --project {scratch.project}"
    )


def _streams(spec: ProjectSpec, frames: dict[str, pl.DataFrame]) -> list[Stream]:
    """Return the datasets that grow; those without a time are complete from the start."""
    timed = [one for one in spec.datasets if one.time is not None]
    return [Stream(one.name, frames[one.name].with_columns(_complete_at(one, 0)), _COMPLETE) for one in timed]


def _requests(spec: ProjectSpec, frames: dict[str, pl.DataFrame], start_at: int, end_at: int) -> tuple[Requests, int]:
    """Return each row of the label's dataset as the request it would have been, and when the last label is known."""
    train = next(one for one in spec.trains if not one.alias)
    service = next(one for one in spec.services if one.name == train.service)
    dataset = next(one for one in spec.datasets if one.name == service.label.dataset)
    inputs = [column for one in spec.requests if one.name in service.requests for column in one.inputs]
    entities = [view.entity for view in spec.views if view.name in service.views]
    known = dataset.known_at.get(service.label.column) or dataset.known_at.get("*")
    assert dataset.time is not None  # a label without an event time cannot be trained on
    label_at = pl.col(known.column) + pl.duration(microseconds=known.after_us) if known else pl.col(dataset.time)
    kept = list(dict.fromkeys([*dataset.key, dataset.time, *inputs, *entities]))
    rows = (
        frames[dataset.name]
        .filter(pl.col(dataset.time).is_between(_moment(start_at), _moment(end_at), closed="left"))
        .select(
            *kept,
            pl.col(dataset.time).alias("event_at"),
            pl.col(service.label.column).alias("_label"),
            label_at.alias("_label_at"),
        )
    )
    if rows.is_empty():
        raise InvalidInput(
            f"dataset {dataset.name} has no row in this stretch", field="--from", rule=f"by {dataset.time}"
        )
    last = rows["_label_at"].drop_nulls().dt.epoch("us").max()
    return Requests(rows, event_at="event_at", label="_label", label_at="_label_at"), int(last or 0)  # type: ignore[arg-type]
