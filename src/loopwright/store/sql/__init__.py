"""Every statement of the store, except sealing; one file a noun."""

from loopwright.store.sql.blobs import all_blobs, find_blob, upsert_blobs
from loopwright.store.sql.chunks import all_chunks, count_rows, find_chunks, has_chunks, insert_chunk
from loopwright.store.sql.events import events_after, get_cursor, insert_event, newest_events, set_cursor
from loopwright.store.sql.health import count_unsealed, queue_depths, size_bytes
from loopwright.store.sql.jobs import (
    Prospect,
    count_held,
    delete_expired_jobs,
    due_jobs,
    failed_jobs,
    find_job,
    insert_job,
    list_jobs,
    look_for_jobs,
    lost_jobs,
    move_leases,
    read_unrest,
    renew_job,
    update_job,
)
from loopwright.store.sql.keys import delete_keys, get_answer, insert_key, keep_answer
from loopwright.store.sql.rows import begins_with, update_as_read, upsert
from loopwright.store.sql.timers import delete_timers, due_timers, take_timer, upsert_timer

__all__ = [
    "Prospect",
    "all_blobs",
    "all_chunks",
    "begins_with",
    "count_held",
    "count_rows",
    "count_unsealed",
    "delete_expired_jobs",
    "delete_keys",
    "delete_timers",
    "due_jobs",
    "due_timers",
    "events_after",
    "failed_jobs",
    "find_blob",
    "find_chunks",
    "find_job",
    "get_answer",
    "get_cursor",
    "has_chunks",
    "insert_chunk",
    "insert_event",
    "insert_job",
    "insert_key",
    "keep_answer",
    "list_jobs",
    "look_for_jobs",
    "lost_jobs",
    "move_leases",
    "newest_events",
    "queue_depths",
    "read_unrest",
    "renew_job",
    "set_cursor",
    "size_bytes",
    "take_timer",
    "update_as_read",
    "update_job",
    "upsert",
    "upsert_blobs",
    "upsert_timer",
]
