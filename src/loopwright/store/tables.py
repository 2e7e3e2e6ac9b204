"""Tables of the store: the event log, timers, jobs, cursors, leases, idempotency keys, chunks and blobs."""

from sqlalchemy import Boolean, Column, Index, Table, Text, UniqueConstraint, false, text

from loopwright.store.columns import METADATA, Json, Moment, Serial, SortedText, project_key

events = Table(
    "events",
    METADATA,
    Column("event_id", Serial, primary_key=True, autoincrement=True),
    Column("project_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("ref", SortedText, nullable=False),
    Column("actor", Text, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", Json, nullable=False),
    Column("cause", Moment),
    Column("position", Moment, unique=True),
    Column("chain", Text),
    # Whose call it was: the token and the address, where there are any.
    Column("token_id", Text),
    Column("client", Text),
    Index("ix_events_project_position", "project_id", "position"),
    Index("ix_events_project_ref", "project_id", "ref", "position"),
)

timers = Table(
    "timers",
    METADATA,
    Column("timer_id", Serial, primary_key=True, autoincrement=True),
    Column("project_id", Text, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("verb", Text, nullable=False),
    Column("args", Json, nullable=False),
    Column("key", Text, nullable=False),
    Column("failures", Moment, nullable=False, server_default="0"),
    Column("retry_at", Moment),
    Column("has_successor", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("project_id", "key"),
    Index("ix_timers_project_due", "project_id", "due_at"),
)

jobs = Table(
    "jobs",
    METADATA,
    project_key(),
    Column("job_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("args", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Moment, nullable=False),
    Column("worker", Text),
    Column("lease_until", Moment),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("progress", Text),
    Column("result", Json),
    Column("error", Json),
    Column("lane", Text, nullable=False, server_default="work"),
    Column("due_at", Moment, nullable=False, server_default="0"),
    Column("failures", Moment, nullable=False, server_default="0"),
    Column("cancel_reason", Text),
    Column("expires_at", Moment),
    Index("ix_jobs_due", "state", "lane", "due_at"),
    Index("ix_jobs_turn", "state", "lane", "project_id", "due_at"),
    Index("ix_jobs_recorded", "project_id", "recorded_at"),
    Index("ix_jobs_state", "project_id", "state", "recorded_at"),
    Index("ix_jobs_kind", "project_id", "kind", "state", "recorded_at"),
    Index("ix_jobs_ref", "project_id", "ref", "recorded_at"),
    Index("ix_jobs_expires", "expires_at"),
)

cursors = Table(
    "cursors",
    METADATA,
    Column("reader", Text, primary_key=True),
    Column("position", Moment, nullable=False),
)

leases = Table(
    "leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("lease_until", Moment, nullable=False),
)
"""Which process does what only one may do; ``lease_until`` is by the database's own clock."""

low_disks = Table(
    "low_disks",
    METADATA,
    Column("disk", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("heard_at", Moment, nullable=False),
)
"""Disks of servers with hardly any room left, as long as a server sees them so."""

idempotency_keys = Table(
    "idempotency_keys",
    METADATA,
    project_key(),
    Column("key", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    Column("answer", Json),
    Column("recorded_at", Moment, nullable=False),
    Index("ix_idempotency_keys_recorded", "recorded_at"),
)

chunks = Table(
    "chunks",
    METADATA,
    project_key(),
    Column("chunk_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("seq", Moment, nullable=False),
    Column("digest", Text, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("size_bytes", Moment, nullable=False),
    Column("id_first", SortedText, nullable=False),
    Column("id_last", SortedText, nullable=False),
    Column("event_at_min", Moment, nullable=False),
    Column("event_at_max", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    # What the ids share, and the class of the event times' length: by these an interval is found (store.intervals).
    Column("id_prefix", Text, nullable=False, server_default=""),
    Column("span_class", Moment, nullable=False, server_default="0"),
    # How often it was merged: 0 as a writer sent it.
    Column("level", Moment, nullable=False, server_default="0"),
    # What is known of its rows; empty where nobody counted them.
    Column("profile_digest", Text, nullable=False, server_default=""),
    # Between which ids lies what its rows tell of (labels: their predictions), and what these share; empty: unknown.
    Column("about_first", SortedText, nullable=False, server_default=""),
    Column("about_last", SortedText, nullable=False, server_default=""),
    Column("about_prefix", Text, nullable=False, server_default=""),
    UniqueConstraint("project_id", "writer", "seq", "kind", "stream"),
    Index("ix_chunks_ids", "project_id", "kind", "id_prefix", "id_first", "id_last"),
    Index("ix_chunks_end", "project_id", "kind", "stream", "id_last", "chunk_id"),
    Index("ix_chunks_span", "project_id", "kind", "stream", "span_class", "event_at_min", "event_at_max"),
    Index("ix_chunks_level", "project_id", "kind", "stream", "level", "recorded_at"),
    Index("ix_chunks_about", "project_id", "kind", "stream", "about_first", "event_at_max"),
    Index("ix_chunks_about_prefix", "project_id", "kind", "stream", "about_prefix", "about_first", "about_last"),
)

merged_chunks = Table(
    "merged_chunks",
    METADATA,
    project_key(),
    Column("writer", Text, primary_key=True),
    Column("seq", Moment, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    # The chunk that holds its rows now.
    Column("chunk_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("id_first", Text, nullable=False),
    Column("id_last", Text, nullable=False),
    Index("ix_merged_chunks_chunk", "project_id", "chunk_id"),
)
"""What chunks were that became one: a writer that sends one again is told that its rows are there."""

blobs = Table(
    "blobs",
    METADATA,
    project_key(),
    Column("digest", Text, primary_key=True),
    Column("size_bytes", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

condemned_blobs = Table(
    "condemned_blobs",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("size_bytes", Moment, nullable=False),
    Column("condemned_at", Moment, nullable=False),
)
"""Blobs that no row named when it was looked (``store.garbage``); a verb that names one takes it off."""

retentions = Table(
    "retentions",
    METADATA,
    project_key(),
    Column("kind", Text, primary_key=True),
    # Empty for every stream of the kind.
    Column("stream", Text, primary_key=True),
    Column("keep_us", Moment),
    Column("recorded_at", Moment, nullable=False),
)

stream_cursors = Table(
    "stream_cursors",
    METADATA,
    project_key(),
    Column("kind", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    # When the last chunk was stored whose rows were taken: of the others none was stored by then.
    Column("until", Moment, nullable=False),
    # Parquet of rows that were taken and wait.
    Column("waiting", Text, nullable=False),
    Column("has_more", Boolean, nullable=False),
)

removals = Table(
    "removals",
    METADATA,
    project_key(),
    Column("removal_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("chunks", Moment, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("size_bytes", Moment, nullable=False),
    Column("start_at", Moment, nullable=False),
    Column("end_at", Moment, nullable=False),
    Column("id_first", SortedText, nullable=False),
    Column("id_last", SortedText, nullable=False),
    Column("removed_at", Moment, nullable=False),
    Index("ix_removals_stream", "project_id", "kind", "stream", "end_at"),
)
"""What retention removed of streams: whoever asks for it later is told."""

tombstones = Table(
    "tombstones",
    METADATA,
    project_key(),
    Column("ref", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Moment),
    Column("deleted_at", Moment, nullable=False),
    Column("deleted_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("facts", Json, nullable=False),
    # When the last row that belonged to it was gone.
    Column("forgotten_at", Moment),
    Index("ix_tombstones_name", "project_id", "kind", "name", "version"),
    Index(
        "ix_tombstones_rows_left",
        "project_id",
        "ref",
        sqlite_where=text("forgotten_at IS NULL"),
        postgresql_where=text("forgotten_at IS NULL"),
    ),
)
"""What was deleted: whoever follows a ref to it later is told when, by whom and why; its number is not given again."""
