"""Commands about backups: backup, restore."""

import shlex
import sys
from contextlib import closing
from pathlib import Path

import click
import msgspec

from loopwright.cli.opening import open_platform
from loopwright.cli.show import json_option, print_json, print_table, say
from loopwright.config import Settings, load_settings
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Dispatcher, Pacemaker, audit, projects
from loopwright.kernel.clock import WallClock, format_moment
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.loop import fills, verifying
from loopwright.rooms import import_rooms
from loopwright.server import nobody_else, service_token
from loopwright.store.backups import (
    Backup,
    Waiting,
    list_backups,
    make_backup,
    restore_backup,
    sealing_command,
    thin,
    verify_backup,
    waiting,
)
from loopwright.store.backups.place import BackupPlace
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.engine import Connection, Database
from loopwright.wire.checkpoints import open_checkpoints


@click.command()
@click.argument("to")
@click.option("--list", "is_list", is_flag=True, help="List the backups there.")
@click.option("--verify", "to_verify", metavar="ID", help="Prove one (or 'newest'): read every object, load every row.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Then let go of all but the newest N; room is free a day later.",
)
@json_option
def backup(to: str, is_list: bool, to_verify: str | None, keep: int | None, as_json: bool) -> None:
    """Back the platform up to a folder or bucket, while it runs; only what is new is copied.

    TO is a folder, s3://bucket/prefix, gs://… or az://…. In it are database, blobs and the spools of this machine's
    gateways; secrets (service.token) and what can be computed again (the online store) are not.
    """
    settings = load_settings()
    backup_place = BackupPlace(to, settings.state_dir / "backup-copies")
    if is_list:
        _show_backups(list_backups(backup_place), as_json)
    elif to_verify:
        _verify(backup_place, to_verify, as_json)
    else:
        _back_up(settings, backup_place, keep, as_json)


def _back_up(settings: Settings, place: BackupPlace, keep: int | None, as_json: bool) -> None:
    database = open_platform(settings)
    try:
        sign_log(database, settings)
        made = make_backup(database, _blobs(settings), settings.state_dir, place, WallClock())
    finally:
        database.close()
    thinned = thin(place, keep, WallClock()) if keep and not made.problems else None
    if as_json:
        print_json(made if thinned is None else {**to_builtins(made), "thinned": to_builtins(thinned)})
    else:
        rows = sum(table.rows for table in made.tables)
        say(f"{made.backup_id}: {rows} rows, {made.blobs} blobs, {len(made.spool)} spool files;")
        say(f"{made.copied_bytes / 1e6:.1f} MB were new to {place.url}")
        for problem in made.problems:
            say(f"wrong: {problem}")
        if thinned is not None:
            freed, spare = thinned.freed_bytes / 1e6, thinned.spare_bytes / 1e6
            say(f"older backups let go of: {', '.join(thinned.backups) or 'none'};")
            say(f"{freed:.1f} MB freed, {spare:.1f} MB to free once no backup has named them for a day")
    sys.exit(1 if made.problems else 0)


def _verify(place: BackupPlace, backup_id: str, as_json: bool) -> None:
    import_rooms("tables")
    chosen = _find(place, backup_id)

    def check_chain(connection: Connection) -> None:
        audit.verify_chain(connection)

    problems = verify_backup(chosen, place, check_chain)
    if as_json:
        print_json({"backup_id": chosen.backup_id, "problems": problems})
    else:
        say(f"{chosen.backup_id} of {format_moment(chosen.created_at)}")
        for problem in problems:
            say(f"wrong: {problem}")
        say("everything holds" if not problems else f"{len(problems)} things are wrong")
    sys.exit(1 if problems else 0)


@click.command()
@click.argument("source")
@click.option("--backup", "backup_id", default="newest", help="Id of the backup; default the newest.")
@click.option("--state", type=click.Path(path_type=Path), help="State folder to set up; default ./.loopwright.")
@json_option
def restore(source: str, backup_id: str, state: Path | None, as_json: bool) -> None:
    """Set a platform up from a backup, in an empty place; then start it with loopwright up.

    SOURCE is where the backups are. LOOPWRIGHT_DATABASE and LOOPWRIGHT_BLOBS say where to; a backup of SQLite goes into
    PostgreSQL too, and the other way round.
    """
    import_rooms("tables")
    settings = load_settings(state)
    backup_place = BackupPlace(source, settings.state_dir / "backup-copies")
    chosen = _find(backup_place, backup_id)
    with nobody_else(settings), closing(Database(settings.database_url)) as database:
        restore_backup(
            chosen,
            backup_place,
            database,
            _blobs(settings),
            settings.state_dir,
            lambda: tell_restored(database, chosen, settings),
        )
    spools = waiting(settings.state_dir.resolve())
    if as_json:
        told = [{**to_builtins(one), "command": sealing_command(one.folder)} for one in spools]
        print_json({"backup_id": chosen.backup_id, "state": str(settings.state_dir), "spools": told})
    else:
        say(f"{chosen.backup_id} of {format_moment(chosen.created_at)} is restored to {settings.state_dir}")
        say("what was deleted since then is back, and tokens revoked since then open again: loopwright tokens")
        where = "" if state is None else f"LOOPWRIGHT_STATE={shlex.quote(str(state))} "
        _tell_waiting(spools, where)
        say(f"next: {where}loopwright verify, then {where}loopwright up")


def _tell_waiting(spools: list[Waiting], where: str) -> None:
    """Say which gateways have rows to seal: those of other folders seal none of them."""
    for one in spools:
        if one.aside:
            say(f"{one.aside} set aside in {one.folder}; first: {where}loopwright salvage")
        if one.files:
            say(f"{one.sentence}: where loopwright up starts none there, {sealing_command(one.folder)}")


def sign_log(database: Database, settings: Settings) -> None:
    """Have what is backed up under a checkpoint, where this command can sign: at its next start a server will."""
    database.seal()
    pacemaker = Pacemaker(open_checkpoints(settings))
    try:
        pacemaker.keep_pace(database.read(audit.log_end), WallClock().now_us(), is_last=True)
    except Unavailable as error:  # where a disk is full the rows are to get out all the same
        say(f"not signed: {error}", err=True)


def tell_restored(database: Database, restored: Backup, settings: Settings) -> None:
    """Record in every project that it was restored; its online store is filled once a worker runs.

    Checkpoints of what came after the backup are given up, by a signed word of their place.
    """
    dispatcher = Dispatcher(database)
    for project in dispatcher.read(SYSTEM, SERVICE_ACTOR, projects.list_projects):
        dispatcher.write(
            project.name,
            SERVICE_ACTOR,
            lambda tx: fills.note_restored(tx, backup_id=restored.backup_id, backup_at=restored.created_at),
        )
    if not settings.service_token:
        settings = msgspec.structs.replace(settings, service_token=service_token(settings.state_dir))
    verifying.put_log_back(dispatcher, open_checkpoints(settings), f"restored from {restored.backup_id}")


def _find(place: BackupPlace, backup_id: str) -> Backup:
    known = place.ids()
    if not known:
        raise InvalidInput(
            "there is no backup here", field="source", value=place.url, next_step=f"loopwright backup {place.url}"
        )
    return place.read(known[-1] if backup_id == "newest" else backup_id, Backup)


def _blobs(settings: Settings) -> BlobStore:
    return open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")


def _show_backups(backups: list[Backup], as_json: bool) -> None:
    if as_json:
        print_json([msgspec.structs.replace(backup, tables=[], blob_pages=[], spool=[]) for backup in backups])
        return
    rows = [
        (
            backup.backup_id,
            format_moment(backup.created_at),
            str(sum(table.rows for table in backup.tables)),
            str(backup.blobs),
            f"{backup.copied_bytes / 1e6:.1f}",
        )
        for backup in backups
    ]
    print_table(("backup", "made", "rows", "blobs", "new MB"), rows)
