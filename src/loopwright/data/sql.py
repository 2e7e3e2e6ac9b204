"""Every statement of data."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, delete, func, insert, not_, or_, select, update

from loopwright.data.tables import dataset_fragments, dataset_imports, dataset_tags, dataset_versions, datasets
from loopwright.data.types import CheckResult, Dataset, DatasetSpec, DatasetVersion, Fragment, ImportResult, Tag
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import convert, to_json
from loopwright.store.rows import read_row, row_of
from loopwright.store.sql import upsert
from loopwright.store.statements import Statement
from loopwright.store.tx import Tx


def _datasets(tx: Tx) -> Select[Any]:
    """Datasets with their newest ready and their last version."""
    ready = _newest(dataset_versions.c.state == "ready").label("newest")
    latest = _newest().label("latest")
    rows = select(datasets, ready, latest).where(datasets.c.project_id == tx.project).subquery()
    same = and_(
        dataset_versions.c.project_id == rows.c.project_id,
        dataset_versions.c.dataset == rows.c.name,
        dataset_versions.c.version == rows.c.latest,
    )
    state = dataset_versions.c.state.label("latest_state")
    return select(rows, state).outerjoin_from(rows, dataset_versions, same).order_by(rows.c.name)


def _newest(*conditions: Any) -> Any:
    return (
        select(func.max(dataset_versions.c.version))
        .where(
            dataset_versions.c.project_id == datasets.c.project_id,
            dataset_versions.c.dataset == datasets.c.name,
            *conditions,
        )
        .correlate(datasets)
        .scalar_subquery()
    )


def find_dataset(tx: Tx, name: str) -> Dataset | None:
    """Return one dataset."""
    rows = _datasets(tx).subquery()
    row = tx.execute(select(rows).where(rows.c.name == name)).first()
    return None if row is None else read_row(row, Dataset)


def list_datasets(tx: Tx) -> list[Dataset]:
    """Return the datasets of a project by name."""
    return [read_row(row, Dataset) for row in tx.execute(_datasets(tx))]


def every_spec(tx: Tx) -> dict[tuple[str, str], DatasetSpec]:
    """Return what the datasets of all projects are declared as, by project and name."""
    rows = tx.execute(select(datasets.c.project_id, datasets.c.name, datasets.c.spec))
    return {(row.project_id, row.name): convert(row.spec, DatasetSpec, "spec") for row in rows}


def lock_dataset(tx: Tx, name: str) -> None:
    """Hold a dataset's row until the commit, so that versions are numbered one after the other."""
    statement = select(datasets.c.name).where(datasets.c.project_id == tx.project, datasets.c.name == name)
    tx.execute(statement.with_for_update()).all()  # SQLite, which has one writer, leaves the lock out


def put_dataset(tx: Tx, spec: DatasetSpec, created_at: int, changed_at: int) -> None:
    """Add a dataset or replace its declaration."""
    row = {
        "project_id": tx.project,
        "name": spec.name,
        "spec": spec,
        "created_at": created_at,
        "changed_at": changed_at,
    }
    upsert(tx.connection, datasets, [row], key=("project_id", "name"), do_update=True)


def insert_version(tx: Tx, version: DatasetVersion, base: int) -> None:
    """Add a version with the fragments that are its own."""
    tx.execute(insert(dataset_versions), row_of(tx, dataset_versions, version, base=base))
    place = {"dataset": version.dataset, "version": version.version}
    rows = [
        row_of(tx, dataset_fragments, fragment, **place, ordinal=ordinal)
        for ordinal, fragment in enumerate(version.fragments)
    ]
    if rows:
        tx.execute(insert(dataset_fragments), rows)


def update_version(tx: Tx, dataset: str, version: int, **values: Any) -> None:
    """Change columns of a version."""
    statement = update(dataset_versions).where(
        dataset_versions.c.project_id == tx.project,
        dataset_versions.c.dataset == dataset,
        dataset_versions.c.version == version,
    )
    tx.execute(statement.values(**values))


def find_version(
    tx: Tx,
    dataset: str,
    version: int | None = None,
    *,
    state: str | None = None,
    during: tuple[int | None, int | None] = (None, None),
) -> DatasetVersion | None:
    """Return one version; without a number the last one, of a state if one is given.

    ``during`` leaves out the fragments whose event times do not overlap ``[start_at, end_at)``.
    """
    statement = _versions(tx, dataset).limit(1)
    if version is not None:
        statement = statement.where(dataset_versions.c.version == version)
    if state is not None:
        statement = statement.where(dataset_versions.c.state == state)
    row = tx.execute(statement).first()
    return None if row is None else read_row(row, DatasetVersion, fragments=_fragments(tx, row, during))


def _fragments_of(*columns: Any) -> Select[Any]:
    """Return the fragments of ready versions from ``base`` to ``parent``, then those of the version ``own``.

    Ready versions follow each other in one line, so those between base and parent are exactly its ancestors.
    """
    table, versions = dataset_fragments, dataset_versions
    same = and_(
        versions.c.project_id == table.c.project_id,
        versions.c.dataset == table.c.dataset,
        versions.c.version == table.c.version,
    )
    is_inherited = and_(table.c.version.between(bindparam("base"), bindparam("parent")), versions.c.state == "ready")
    return (
        select(*columns)
        .join_from(table, versions, same)
        .where(
            table.c.project_id == bindparam("project"),
            table.c.dataset == bindparam("name"),
            or_(table.c.version == bindparam("own"), is_inherited),
        )
        .order_by(table.c.version, table.c.ordinal)
    )


_fragment_digests = Statement(_fragments_of(dataset_fragments.c.digest))
_named_version = Statement(
    select(dataset_versions).where(
        dataset_versions.c.project_id == bindparam("project"),
        dataset_versions.c.dataset == bindparam("name"),
        dataset_versions.c.version == bindparam("number"),
    )
)


def find_head(tx: Tx, dataset: str, version: int) -> tuple[DatasetVersion, list[Digest]] | None:
    """Return one version without its fragments, and their digests: after a year of appends the rest takes long."""
    row = _named_version.first(tx.connection, project=tx.project, name=dataset, number=version)
    if row is None:
        return None
    digests = _fragment_digests.all(tx.connection, **_held_by(tx, row))
    return read_row(row, DatasetVersion, fragments=[]), [digest for (digest,) in digests]


def find_base(tx: Tx, dataset: str, version: int) -> int:
    """Return the version that the chain of changes of a version stands on."""
    statement = select(dataset_versions.c.base).where(
        dataset_versions.c.project_id == tx.project,
        dataset_versions.c.dataset == dataset,
        dataset_versions.c.version == version,
    )
    return int(tx.execute(statement).scalar_one())


def list_versions(
    tx: Tx,
    dataset: str,
    *,
    limit: int,
    before: int | None = None,
    state: str | None = None,
    operations: Sequence[str] = (),
    is_imported: bool = False,
) -> list[DatasetVersion]:
    """Return versions, newest first, without their fragments; of some operations alone, if they are named."""
    statement = _versions(tx, dataset).limit(limit)
    if is_imported:
        statement = statement.where(dataset_versions.c.restored_from.is_(None))
    if operations:
        statement = statement.where(dataset_versions.c.operation.in_(operations))
    if state is not None:
        statement = statement.where(dataset_versions.c.state == state)
    if before is not None:
        statement = statement.where(dataset_versions.c.version < before)
    return [read_row(row, DatasetVersion, fragments=[]) for row in tx.execute(statement)]


def built_on(tx: Tx, dataset: str, version: int) -> list[int]:
    """Return the versions that hold the rows of one and what came to them, whatever their state."""
    v = dataset_versions
    statement = select(v.c.version).where(v.c.project_id == tx.project, v.c.dataset == dataset, v.c.parent == version)
    return list(tx.connection.scalars(statement.where(v.c.operation != "replace").order_by(v.c.version)))


def list_restored(tx: Tx, dataset: str) -> list[DatasetVersion]:
    """Return the versions that have the content of older ones, newest first, without their fragments."""
    statement = _versions(tx, dataset).where(dataset_versions.c.restored_from.is_not(None))
    return [read_row(row, DatasetVersion, fragments=[]) for row in tx.execute(statement)]


def has_content(tx: Tx, dataset: str, digest: Digest, between: tuple[int, int]) -> bool:
    """Say whether one of the versions from a number to another has a content."""
    held = (dataset_versions.c.digest == digest, dataset_versions.c.version.between(*between))
    return tx.execute(_versions(tx, dataset).where(*held).limit(1)).first() is not None


def list_sharing(tx: Tx, dataset: str, version: int | None, *, limit: int) -> list[tuple[str, int]]:
    """Return dataset and number of the versions that added files which a version added too, or any of a dataset."""
    f = dataset_fragments
    is_it = and_(f.c.dataset == dataset, *([] if version is None else [f.c.version == version]))
    files = select(f.c.digest).where(f.c.project_id == tx.project, is_it)
    statement = select(f.c.dataset, f.c.version).distinct().order_by(f.c.dataset, f.c.version).limit(limit)
    found = tx.execute(statement.where(f.c.project_id == tx.project, not_(is_it), f.c.digest.in_(files)))
    return [(row.dataset, row.version) for row in found]


def has_version(tx: Tx, dataset: str, version: int) -> bool:
    """Say whether there is a version of this number."""
    return tx.execute(_versions(tx, dataset).where(dataset_versions.c.version == version).limit(1)).first() is not None


def list_checks(tx: Tx, dataset: str, version: int) -> list[tuple[int, list[CheckResult]]]:
    """Return number and checks of the ready versions whose rows a version holds, itself among them, newest first."""
    asked = _whose_rows(tx, dataset, version).with_only_columns(dataset_versions.c.version, dataset_versions.c.checks)
    return [(row.version, convert(row.checks, list[CheckResult], "checks")) for row in tx.execute(asked)]


def list_specs(tx: Tx, dataset: str, version: int) -> list[DatasetSpec]:
    """Return the declarations under which the rows of a version came, each once."""
    asked = _whose_rows(tx, dataset, version).with_only_columns(dataset_versions.c.spec)
    told = {to_json(row.spec): row.spec for row in tx.execute(asked) if row.spec is not None}
    return [convert(spec, DatasetSpec, "spec") for spec in told.values()]


def _whose_rows(tx: Tx, dataset: str, version: int) -> Select[Any]:
    base = find_base(tx, dataset, version)
    held = dataset_versions.c.version.between(base, version)
    return _versions(tx, dataset).where(held, dataset_versions.c.state == "ready")


def _versions(tx: Tx, dataset: str) -> Select[Any]:
    same = and_(dataset_versions.c.project_id == tx.project, dataset_versions.c.dataset == dataset)
    return select(dataset_versions).where(same).order_by(dataset_versions.c.version.desc())


def _fragments(tx: Tx, version: Row[Any], during: tuple[int | None, int | None]) -> list[Fragment]:
    """Return the fragments whose rows a version holds."""
    table, statement = dataset_fragments, _fragments_of(dataset_fragments)
    start_at, end_at = during
    if start_at is not None:
        statement = statement.where(or_(table.c.event_at_max.is_(None), table.c.event_at_max >= start_at))
    if end_at is not None:
        statement = statement.where(or_(table.c.event_at_min.is_(None), table.c.event_at_min < end_at))
    rows = tx.execute(statement, _held_by(tx, version))
    return [read_row(row, Fragment, place=(row.version, row.ordinal)) for row in rows]


def _held_by(tx: Tx, version: Row[Any]) -> dict[str, Any]:
    """Return what ``_fragments_of`` asks for to find the rows of a version."""
    parent = -1 if version.parent is None or version.operation == "replace" else version.parent
    named = {"project": tx.project, "name": version.dataset}
    return {**named, "own": version.version, "base": version.base, "parent": parent}


def find_import(tx: Tx, job_id: str) -> ImportResult | None:
    """Return how the import of a job ended."""
    statement = select(dataset_imports.c.result).where(
        dataset_imports.c.project_id == tx.project, dataset_imports.c.job_id == job_id
    )
    result = tx.execute(statement).scalar()
    return None if result is None else convert(result, ImportResult, "result")


def put_import(tx: Tx, job_id: str, dataset: str, result: ImportResult, wall_us: int) -> None:
    """Record how an import ended; a job that failed may end otherwise when it is tried again."""
    row = {"project_id": tx.project, "job_id": job_id, "dataset": dataset, "result": result, "recorded_at": wall_us}
    upsert(tx.connection, dataset_imports, [row], key=("project_id", "job_id"), do_update=True)


_newest_numbers = (
    select(dataset_versions.c.dataset, func.max(dataset_versions.c.version).label("newest"))
    .where(dataset_versions.c.project_id == bindparam("project"))
    .group_by(dataset_versions.c.dataset)
    .subquery()
)
_ready_times = (
    select(dataset_versions.c.dataset, dataset_versions.c.event_at)
    .join(_newest_numbers, _newest_numbers.c.dataset == dataset_versions.c.dataset)
    .where(
        dataset_versions.c.project_id == bindparam("project"),
        dataset_versions.c.version > _newest_numbers.c.newest - bindparam("most"),
        dataset_versions.c.state == "ready",
        dataset_versions.c.restored_from.is_(None),
    )
    .order_by(dataset_versions.c.dataset, dataset_versions.c.version.desc())
)


def ready_times(tx: Tx, most: int) -> dict[str, list[int]]:
    """Return when imports made the ready ones of each dataset's ``most`` newest versions, newest first."""
    times: dict[str, list[int]] = {}
    for row in tx.execute(_ready_times, {"project": tx.project, "most": most}):
        times.setdefault(row.dataset, []).append(row.event_at)
    return times


def find_tag(tx: Tx, dataset: str, tag: str) -> Tag | None:
    """Return which version a tag names."""
    row = tx.execute(select(dataset_tags).where(*_of_tags(tx, dataset), dataset_tags.c.tag == tag)).first()
    return None if row is None else read_row(row, Tag)


def list_tags(tx: Tx, dataset: str) -> list[Tag]:
    """Return the tags of a dataset by name."""
    statement = select(dataset_tags).where(*_of_tags(tx, dataset)).order_by(dataset_tags.c.tag)
    return [read_row(row, Tag) for row in tx.execute(statement)]


def put_tag(tx: Tx, tag: Tag) -> None:
    """Add a tag or move it."""
    key = ("project_id", "dataset", "tag")
    upsert(tx.connection, dataset_tags, [row_of(tx, dataset_tags, tag)], key=key, do_update=True)


def delete_tag(tx: Tx, tag: Tag) -> None:
    """Take a tag away."""
    tx.execute(delete(dataset_tags).where(*_of_tags(tx, tag.dataset), dataset_tags.c.tag == tag.tag))


def _of_tags(tx: Tx, dataset: str) -> tuple[ColumnElement[bool], ...]:
    return dataset_tags.c.project_id == tx.project, dataset_tags.c.dataset == dataset
