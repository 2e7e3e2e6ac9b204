"""``import``: rows of a file, or of the declared source again, as a new version of a dataset."""

from pathlib import Path

import click

from loopwright.cli.connection import remote
from loopwright.cli.serving import wait_for_job
from loopwright.cli.show import json_option, print_json, project_option, say
from loopwright.data import ImportResult, Operation
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput

_OPERATIONS: tuple[Operation, ...] = ("append", "replace", "upsert", "complete", "delete")


@click.command("import")
@click.argument("dataset")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--as", "operation", type=click.Choice(_OPERATIONS), default="append", help="Default append.")
@click.option("--known-at", help="Column that says when values of rows that are there became known.")
@click.option("--corrects", is_flag=True, help="complete may change values that are there.")
@click.option("--reason", default="", help="Why, for the audit trail.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@project_option
@json_option
def import_rows(
    dataset: str,
    file: Path | None,
    operation: Operation,
    known_at: str | None,
    corrects: bool,
    reason: str,
    detach: bool,
    project: str | None,
    as_json: bool,
) -> None:
    """Bring the rows of FILE into DATASET; without FILE read its declared source again.

    append adds new rows, and rows that are there alike are taken once. replace makes these rows all there is, as after
    another transform. upsert puts rows in the place of those of the same key, complete fills in columns that became
    known, delete takes rows away by their keys.
    """
    if file is None and operation in ("complete", "delete"):
        rule = "a file with the keys, and what is to be filled in"
        raise InvalidInput(f"nothing says which rows to {operation}", field="FILE", rule=rule)
    found = remote(project)
    job = found.dataset(dataset).start_import(file, operation, known_at=known_at, corrects=corrects, reason=reason)
    if detach:
        print_json(job.record) if as_json else say(f"{job.job_id} {job.state}")
        return
    result = convert(wait_for_job(found, job.job_id).result, ImportResult, "result")
    print_json(result) if as_json else say(tell_import(dataset, result))
    if result.state == "quarantined":
        raise SystemExit(1)


def tell_import(dataset: str, result: ImportResult) -> str:
    """Return what came of an import, in a line."""
    if result.message:
        return result.message
    counts = {"added": result.rows, "changed": result.changed_rows, "there already": result.dropped_rows}
    if result.rows < 0:
        counts = {"taken away": -result.rows, "changed": result.changed_rows}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{dataset} version {result.version} is {result.state}: {told or 'no row'}"
