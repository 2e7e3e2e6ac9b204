"""Verbs of backtests: one is started, its job plays it in a scratch project, and what came of it stays to be read."""

from loopwright import data
from loopwright.governance import lineage, require_job
from loopwright.kernel.clock import check_zone, parse_moment
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Count, query, verb
from loopwright.loop.apply import check_spec, current_spec, named_blobs
from loopwright.loop.backtest import sql
from loopwright.loop.backtest.narrowing import narrow_spec
from loopwright.loop.backtest.scope import find_scope
from loopwright.loop.backtest.scratch import open_scratch
from loopwright.loop.events import BacktestBegun, BacktestFinished, BacktestStarted
from loopwright.loop.housekeeping.ending import end_scratch
from loopwright.loop.types import Backtest, ClosingTable, PlayBacktest, ProjectSpec
from loopwright.store import jobs
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx
from loopwright.store.types import Job
from loopwright.store.work import kind_of

JOB = kind_of(PlayBacktest).name


@verb("loop.start_backtest", changes=Backtest)
def start_backtest(
    tx: Tx,
    *,
    deployment: str,
    start_at: int | str,
    end_at: int | str,
    policy: ProjectSpec | None = None,
    zone: str = "UTC",
    keep_project: bool = False,
    reason: str = "",
) -> Backtest:
    """Start playing a stretch of a deployment's history again under a policy, in a project made for that alone.

    What was known by the first moment is imported, a first model is trained and released, and then each hour's rows,
    requests and labels come as they came. Rows are played as they are stored: transforms do not run again. The project
    itself is only read. The answer's ``job_id`` tells how far it is and can be cancelled; ``loop.get_backtest`` holds
    the closing table once it is done.

    Args:
        deployment: Its name in the policy.
        start_at: First moment of the stretch; ISO 8601 or microseconds UTC.
        end_at: First moment that is out.
        policy: A whole declaration, as ``loop.apply`` takes it, its code uploaded to this project; default the applied.
        zone: Time zone of the closing table's months.
        keep_project: True keeps the scratch project to be looked into, until somebody deletes it.
        reason: Why, for the audit trail.

    Raises:
        NotFound: The policy declares no such deployment, or a dataset that is not here.
        InvalidInput: The stretch is empty, or nothing trains the deployment's model.
    """
    first, last = parse_moment(start_at, "start_at"), parse_moment(end_at, "end_at")
    if last <= first:
        raise InvalidInput("the stretch is empty", field="end_at", value=end_at, rule="after start_at")
    declared = current_spec(tx) if policy is None else policy
    check_spec(declared)
    find_scope(declared, deployment, first, last, check_zone(zone))
    spec = narrow_spec(declared, deployment)
    tx.require_blobs(*named_blobs(spec))
    versions = {
        dataset_spec.name: data.get_version(tx, dataset=dataset_spec.name).version for dataset_spec in spec.datasets
    }
    name = tx.new_id("bkt")
    ref = tx.ref("backtest", name)
    job = tx.start_job(PlayBacktest(name), ref)
    asked = (name, deployment, first, last, zone, keep_project, reason)
    backtest = Backtest(*asked, versions, job.job_id, started_by=tx.actor, recorded_at=tx.wall_us)
    sql.insert_backtest(tx, backtest, spec)
    lineage.link(tx, ref, "read", *(tx.ref("dataset", dataset, version) for dataset, version in versions.items()))
    tx.emit(BacktestStarted(name, deployment, first, last, job.job_id), ref, reason=reason)
    return backtest


@query("loop.get_backtest")
def get_backtest(tx: Tx, *, backtest_id: str) -> Backtest:
    """Return one backtest; once it is done, with its closing table."""
    backtest = sql.find_backtest(tx, backtest_id)
    if backtest is None:
        hint = "loop.backtests names those there are"
        unknown = NotFound("no such backtest", field="backtest_id", value=backtest_id, next_step=hint)
        raise missing(tx, "backtest", backtest_id, None, unknown)
    return backtest


@query("loop.backtests")
def list_backtests(tx: Tx, *, deployment: str | None = None, limit: Count = 100) -> list[Backtest]:
    """Return the backtests, newest first."""
    return sql.list_backtests(tx, deployment, min(limit, 1000))


@query("loop.backtest_spec")
def backtest_spec(tx: Tx, *, backtest_id: str) -> ProjectSpec:
    """Return what a backtest plays: the policy as it was, narrowed to one deployment and what that needs."""
    spec = sql.find_spec(tx, get_backtest(tx, backtest_id=backtest_id).backtest_id)
    assert spec is not None  # the row is there
    return spec


@verb("loop.begin_backtest", changes=Backtest, internal=True)
def begin_backtest(tx: Tx, *, backtest_id: str, token_digest: Digest) -> Backtest:
    """Make the scratch project in which this attempt plays, as the job that does; what an earlier one left goes.

    Args:
        backtest_id: Which.
        token_digest: SHA-256 of the token of this attempt; until the job has ended it opens the scratch project too.

    Raises:
        PermissionDenied: The caller is another job.
    """
    backtest = _own(tx, backtest_id)
    attempt = jobs.get(tx, job_id=backtest.job_id).attempt
    if backtest.attempt == attempt and backtest.scratch is not None:
        return backtest  # asked again: the answer was lost
    if backtest.scratch is not None:
        end_scratch(tx, backtest.scratch, is_kept=False, reason=f"{backtest_id} starts over")
    spec = backtest_spec(tx, backtest_id=backtest_id)
    scratch = open_scratch(tx, spec, backtest.start_at, token_digest)
    sql.update_backtest(tx, backtest_id, attempt=attempt, scratch=scratch)
    tx.emit(BacktestBegun(backtest_id, attempt, scratch), tx.ref("backtest", backtest_id))
    return get_backtest(tx, backtest_id=backtest_id)


@verb("loop.finish_backtest", changes=Backtest, internal=True)
def finish_backtest(tx: Tx, *, backtest_id: str, closing: ClosingTable) -> Backtest:
    """Keep the closing table of a backtest, as the job that plays it; finishing twice is once."""
    backtest = _own(tx, backtest_id)
    if backtest.closing is None:
        sql.update_backtest(tx, backtest_id, closing=closing)
    return get_backtest(tx, backtest_id=backtest_id)


def end_backtest(tx: Tx, job: Job, reason: str) -> None:
    """Record how the job of a backtest ended; the scratch project goes, unless it is to be kept."""
    backtest_id = convert(job.args, PlayBacktest).backtest_id
    backtest = sql.find_backtest(tx, backtest_id)
    is_ended = job.state in ("done", "failed", "cancelled")  # one that was queued again since is not
    if not is_ended or backtest is None or backtest.state != "running":
        return  # what went with its project ended there
    scratch = backtest.scratch
    if scratch is not None:
        why = f"{backtest_id} is {job.state}"
        end_scratch(tx, scratch, is_kept=backtest.keeps_project, reason=why)
    kept = scratch if backtest.keeps_project else None
    ended = {"state": job.state, "error": job.error, "finished_at": tx.wall_us}
    sql.update_backtest(tx, backtest_id, **ended, scratch=kept)
    tx.emit(BacktestFinished(backtest_id, job.state, kept or ""), tx.ref("backtest", backtest_id), reason=reason)


def reopen_backtest(tx: Tx, job: Job) -> None:
    """Record that a backtest whose job failed or was cancelled is played again, from its start."""
    backtest_id = convert(job.args, PlayBacktest).backtest_id
    if job.state in ("queued", "running") and get_backtest(tx, backtest_id=backtest_id).state != "running":
        sql.update_backtest(tx, backtest_id, state="running", error=None, finished_at=None)


def _own(tx: Tx, backtest_id: str) -> Backtest:
    """Return a backtest to the job that plays it."""
    require_job(tx, f"play {backtest_id}", "play_backtest")
    backtest = get_backtest(tx, backtest_id=backtest_id)
    if tx.bounds is not None and tx.bounds.job_id != backtest.job_id:
        raise PermissionDenied(
            f"another job plays {backtest_id}", field="job", value=tx.bounds.job_id, rule=backtest.job_id
        )
    return backtest
