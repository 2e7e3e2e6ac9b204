"""Commands about what is stored: gc."""

from collections.abc import Iterable

import click

from loopwright.cli.show import json_option, print_json, print_table, say
from loopwright.client import find_caller
from loopwright.governance import SYSTEM
from loopwright.kernel.clock import format_moment
from loopwright.store.garbage import Freed, Garbage


@click.command()
@click.option("--plan", "is_plan", is_flag=True, help="Say what would be freed, and change nothing.")
@click.option("--grace", default="24h", show_default=True, help="How long what nothing names stays; 2h or more.")
@click.option("--unused", default="30d", show_default=True, help="How long caches stay that nobody uses; 1d or more.")
@json_option
def gc(is_plan: bool, grace: str, unused: str, as_json: bool) -> None:
    """Free blobs that no row has named for a grace period, unused caches, and files of processes that are gone.

    A running server does it by itself every six hours. The first run that finds a blob unnamed begins its grace
    period; a later run frees it.
    """
    asked = {"plan": is_plan, "grace": grace, "unused": unused}
    garbage: Garbage = find_caller().call("storage.collect_garbage", asked, SYSTEM)
    if as_json:
        print_json(garbage)
        return
    _show("would be freed" if is_plan else "freed", garbage.freed)
    if garbage.waiting.files:
        since = "" if garbage.next_at is None else f"; the first may go at {format_moment(garbage.next_at)}"
        say(f"waiting: {garbage.waiting.files} blobs, {_megabytes(garbage.waiting)} MB{since}")
    _show("kept", garbage.kept)


def _show(head: str, files: Iterable[Freed]) -> None:
    print_table((head, "files", "MB"), [(each.what, each.files, _megabytes(each)) for each in files])


def _megabytes(each: Freed) -> str:
    return f"{each.size_bytes / 1e6:.1f}"
