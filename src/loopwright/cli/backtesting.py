"""Backtest: the same loop over a stretch of history, played by the platform, under the policy to try."""

from pathlib import Path

from loopwright.cli.closing import print_table
from loopwright.cli.project import load_project
from loopwright.cli.show import Progress, print_json, say
from loopwright.client import Remote, RemoteBacktest
from loopwright.kernel.clock import parse_moment


def run_backtest(
    remote: Remote,
    deployment: str,
    start: str,
    end: str,
    policy: Path | None,
    *,
    zone: str,
    keep: bool,
    detach: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Have ``[start, end)`` played under the applied policy or that of a project file, and print the closing table.

    Raises:
        LoopwrightError: The backtest failed; its own error.
    """
    backtest = remote.deployment(deployment).backtest(
        parse_moment(start, "--from"),
        parse_moment(end, "--to"),
        policy=None if policy is None else load_project(policy),
        zone=zone,
        keep_project=keep,
        reason=reason,
    )
    if detach:
        _tell_started(backtest, as_json=as_json)
        return
    _follow(backtest)
    closing = backtest.closing
    if as_json:
        print_json(closing.table)
        return
    print_table(closing)
    kept = backtest.record.scratch
    if kept is not None:
        say(f"every step of it is on record in project {kept}; loopwright delete {kept} --reason WHY removes it")


def _follow(backtest: RemoteBacktest) -> None:
    progress = Progress()
    try:
        backtest.wait(tell=progress.show)
    except KeyboardInterrupt:
        job_id = backtest.record.job_id
        say(err=True)
        say(f"the backtest goes on at the server; to end it: loopwright cancel {job_id}", err=True)
        raise
    finally:
        progress.done()


def _tell_started(backtest: RemoteBacktest, *, as_json: bool) -> None:
    record = backtest.record
    if as_json:
        print_json(record)
        return
    say(f"{record.backtest_id} plays as job {record.job_id}")
    say(f"its table: loopwright call loop.get_backtest backtest_id={record.backtest_id}")
