"""What can be deleted: which rows a thing is, which belong to it, what it is made of, and who may do away with it.

One table for all of them. A table of the database that holds what people make stands in ``NOUNS`` or, with the reason
why it does not, in ``STAYS``; a test sees to it that a table which joins later is in one of the two.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import Ref
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import Role
from loopwright.pipelines import schedule_key
from loopwright.store import forgetting
from loopwright.store.tx import Tx

MOST_PARTS = 50_000
"""Most things that go in one call, for one transaction holds them all."""


class Rows(msgspec.Struct, frozen=True):
    """Rows of a table that belong to a thing: the columns that hold its name and number, and values of others."""

    table: str
    name: str
    version: str = ""
    fixed: dict[str, str] = {}

    def where(self, ref: Ref) -> dict[str, Any]:
        """Return the values of columns by which rows of a thing are known."""
        number = {self.version: ref.version} if self.version else {}
        return {self.name: ref.name, **number, **self.fixed}


class Noun(msgspec.Struct, frozen=True):
    """One kind of thing.

    ``itself`` are the rows that make it one; None where it is no more than its parts. ``belongings`` go with it.
    ``facts`` are columns that its tombstone keeps. ``parts`` is the noun that it is made of, ``part_of`` the column in
    which a part names its whole.
    """

    words: str
    itself: Rows | None
    role: Role
    belongings: tuple[Rows, ...] = ()
    facts: tuple[str, ...] = ()
    parts: str = ""
    part_of: str = ""


_OWN_WORK, _SHARED = Role.EDITOR, Role.APPROVER

NOUNS: dict[str, Noun] = {
    "dataset": Noun(
        "dataset",
        Rows("datasets", "name"),
        _SHARED,
        (
            Rows("dataset_imports", "dataset"),
            Rows("dataset_tags", "dataset"),
            Rows("materializations", "dataset"),
            Rows("chunks", "stream", fixed={"kind": "pushes"}),
            Rows("retentions", "stream", fixed={"kind": "pushes"}),
            Rows("stream_cursors", "stream", fixed={"kind": "pushes"}),
        ),
        parts="dataset/",
    ),
    "dataset/": Noun(
        "dataset version",
        Rows("dataset_versions", "dataset", "version"),
        _SHARED,
        (Rows("dataset_fragments", "dataset", "version"),),
        ("digest", "rows", "operation", "parent", "recorded_at"),
        part_of="dataset",
    ),
    "feature_view": Noun(
        "feature view",
        Rows("feature_definitions", "name", fixed={"kind": "view"}),
        _SHARED,
        (Rows("materializations", "view"),),
        ("digest", "spec"),
    ),
    "feature_request": Noun(
        "on-request function",
        Rows("feature_definitions", "name", fixed={"kind": "request"}),
        _SHARED,
        facts=("digest",),
    ),
    "feature_service": Noun(
        "feature service",
        Rows("feature_definitions", "name", fixed={"kind": "service"}),
        _SHARED,
        facts=("digest", "spec"),
        parts="training_set/",
    ),
    "training_set/": Noun(
        "training set",
        Rows("training_sets", "service", "version"),
        _SHARED,
        facts=("digest", "rows", "plan_digest", "event_at_min", "event_at_max", "spec", "recorded_at"),
        part_of="service",
    ),
    "experiment": Noun("experiment", None, _OWN_WORK, parts="run"),
    "run": Noun(
        "run",
        Rows("runs", "run_id"),
        _OWN_WORK,
        tuple(
            Rows(table, "run_id")
            for table in ("run_params", "run_tags", "run_metrics", "run_artifacts", "metric_points")
        ),
        ("experiment", "name", "state", "execution_id", "started_at"),
        part_of="experiment",
    ),
    "model": Noun("model", Rows("models", "model"), _SHARED, parts="model/"),
    "model/": Noun(
        "model version",
        Rows("model_versions", "model", "version"),
        _SHARED,
        (Rows("gate_reports", "model", "version"),),
        ("digest", "flavour", "source", "run", "training_set", "code_digest", "refit_of", "metrics", "recorded_at"),
        part_of="model",
    ),
    "backtest": Noun(
        "backtest",
        Rows("backtests", "backtest_id"),
        _OWN_WORK,
        facts=("deployment", "start_at", "end_at", "state", "started_by", "scratch"),
    ),
    "pipeline": Noun("pipeline", Rows("pipelines", "name"), _SHARED, facts=("digest",), parts="execution"),
    "execution": Noun(
        "execution",
        Rows("executions", "execution_id"),
        _OWN_WORK,
        (Rows("step_runs", "execution_id"), Rows("step_cache", "execution_id")),
        ("pipeline", "state", "started_by", "recorded_at"),
        part_of="pipeline",
    ),
}
"""Nouns by the kind of their refs; with a slash at the end those that have a number, such as ``model:late/3``."""

STAYS: dict[str, str] = {
    "alerts": "what was told",
    "applied_specs": "what was declared, and when",
    "approvals": "who decided what",
    "blobs": "freed as garbage",
    "channel_targets": "part of the declaration of monitors",
    "condemned_blobs": "freed as garbage",
    "cursors": "of the platform itself",
    "deployments": "an endpoint is retired; what it answered can be asked about",
    "events": "the audit trail",
    "feature_plans": "what versions and releases mean, also of those that are gone",
    "gateways": "of the platform itself",
    "idempotency_keys": "go when they are old",
    "incidents": "what was told",
    "jobs": "go when they are old",
    "key_runs": "which predictions were made for which row; they end with the predictions",
    "label_feeds": "how far labels of a deployment were taken, and a deployment is retired, not deleted",
    "leases": "of the platform itself",
    "lineage": "still leads to what is gone",
    "low_disks": "of the platform itself",
    "merged_chunks": "keeps a segment that is sent again from counting twice",
    "model_aliases": "hold their version; removed by registry.remove_alias",
    "monitors": "part of a deployment",
    "pipeline_definitions": "what executions ran, and versions were made by",
    "projects": "have an end of their own",
    "reactions": "which events were answered",
    "releases": "what answered, and when",
    "removals": "what retention removed",
    "retrains": "what the policy did",
    "rollout_looks": "why a version went live or did not",
    "rollouts": "why a version went live or did not",
    "sessions": "of the platform itself",
    "timers": "go with what they are for",
    "tokens": "are revoked",
    "tombstones": "what was deleted",
    "windows": "how well an endpoint did",
}
"""Tables that keep their rows when something is deleted, and why."""

_ALIASES = {
    "view": "feature_view",
    "request": "feature_request",
    "service": "feature_service",
    "train": "pipeline",
    "exe": "execution",
}
"""Words that a plan or a person says for a kind."""


class Subject(msgspec.Struct, frozen=True):
    """One thing that is to go: its ref, its noun's key in ``NOUNS``, and the row that it is, if it is one."""

    ref: Ref
    noun: str
    row: dict[str, Any]


def noun_key(ref: Ref) -> str:
    """Return under which key of ``NOUNS`` a ref's noun stands."""
    return f"{ref.kind}/" if ref.version is not None else ref.kind


def read_target(ref: Ref) -> Ref:
    """Return the ref of what is to be deleted, by the kind that it has everywhere.

    Raises:
        InvalidInput: Nothing of this kind can be deleted.
    """
    named = msgspec.structs.replace(ref, kind=_ALIASES.get(ref.kind, ref.kind))
    if noun_key(named) in NOUNS:
        return named
    forms = [f"{key[:-1]}:NAME/N" if key.endswith("/") else f"{key}:NAME" for key in NOUNS]
    form = f"{named.kind}:NAME" if named.version is None else f"{named.kind}:NAME/N"
    otherwise = "an endpoint is retired (loopwright retire NAME --reason WHY), a project is deleted by its name alone"
    raise InvalidInput(
        "nothing of this kind can be deleted",
        field="ref",
        value=str(ref),
        rule=f"one of {', '.join(forms)}",
        next_step=suggest(form, forms, otherwise),
    )


def find_subjects(tx: Tx, target: Ref) -> list[Subject]:
    """Return a thing and all its parts, the thing first; empty where it is not there."""
    key = noun_key(target)
    noun = NOUNS[key]
    rows = (
        []
        if noun.itself is None
        else forgetting.find_matching(tx, noun.itself.table, noun.itself.where(target), limit=1)
    )
    parts = _find_parts(tx, target, noun.parts) if noun.parts else []
    if not rows and not parts:
        return []
    return [Subject(target, key, rows[0] if rows else {}), *parts]


def _find_parts(tx: Tx, whole: Ref, key: str) -> list[Subject]:
    part = NOUNS[key]
    itself = part.itself
    assert itself is not None  # parts have no parts: each is a row
    rows = forgetting.find_matching(tx, itself.table, {part.part_of: whole.name}, limit=MOST_PARTS + 1)
    kind = key.removesuffix("/")
    return [
        Subject(Ref(kind, row[itself.name], row[itself.version] if itself.version else None, tx.project), key, row)
        for row in rows
    ]


def count_belongings(tx: Tx, subjects: Iterable[Subject]) -> dict[str, int]:
    """Return how many rows belong to things, by table; each thing is one row of its own beside them."""
    counts: dict[str, int] = {}
    for subject in subjects:
        for rows in NOUNS[subject.noun].belongings:
            counts[rows.table] = counts.get(rows.table, 0) + forgetting.count_matching(
                tx, rows.table, rows.where(subject.ref)
            )
    return {table: rows for table, rows in counts.items() if rows}


def remove_subjects(tx: Tx, subjects: list[Subject]) -> None:
    """Remove the rows that things are: nobody sees them from here on. A thing's parts go all at once."""
    target = subjects[0].ref
    noun = NOUNS[subjects[0].noun]
    if noun.itself is not None:
        forgetting.remove_matching(tx, noun.itself.table, noun.itself.where(target))
    if noun.parts:
        part = NOUNS[noun.parts]
        assert part.itself is not None
        forgetting.remove_matching(tx, part.itself.table, {part.part_of: target.name})
    if target.kind == "pipeline":
        tx.cancel_later(schedule_key(target.name))


def remove_belongings(tx: Tx, ref: Ref, until: int, limit: int) -> int:
    """Remove at most so many rows that belonged to a thing which is gone; return how many.

    Args:
        tx: The open transaction.
        ref: What is gone.
        until: When it went, wall clock: rows of a thing that has its name since then stay.
        limit: Most rows.
    """
    removed = 0
    for rows in NOUNS[noun_key(ref)].belongings:
        if removed < limit:
            removed += forgetting.remove_matching(tx, rows.table, rows.where(ref), until=until, limit=limit - removed)
    return removed
