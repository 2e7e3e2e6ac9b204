"""Structs of the store."""

from typing import Any

import msgspec

from loopwright.kernel.digests import Digest, MaybeDigest
from loopwright.kernel.verbs import Count, Part


class BlobRef(msgspec.Struct, frozen=True):
    """Name of stored bytes: SHA-256 in hexadecimal, and the size."""

    digest: Digest
    size_bytes: Count


class Bounds(msgspec.Struct, frozen=True):
    """What a part of the platform is bound to: a gateway to its address, the doing of a job to that job."""

    part: Part
    address: str = ""
    job_id: str = ""
    job_kind: str = ""


class Timer(msgspec.Struct, frozen=True):
    """A verb call that is due at a moment of its project's clock (microseconds UTC).

    ``failures`` counts how often the call failed; it is tried again at ``retry_at`` of the wall clock, which takes none
    of the project's time. ``has_successor`` says that the one after it is planned.
    """

    timer_id: int
    project: str
    due_at: int
    verb: str
    args: dict[str, Any]
    key: str
    failures: int = 0
    retry_at: int | None = None
    has_successor: bool = False


JOB_STATES = {
    "queued": frozenset({"running", "cancelled"}),
    "running": frozenset({"done", "failed", "queued", "cancelled"}),
    "done": frozenset[str](),
    "failed": frozenset({"queued", "dismissed"}),
    "dismissed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
}


class Job(msgspec.Struct, frozen=True):
    """Work that takes input, output or seconds; a worker holds it under a lease and may be replaced.

    ``attempt`` counts how often a worker took it and never goes back: of two that believe they hold it, the higher one
    does. ``failures`` counts the attempts that ended badly since a person retried it. ``due_at`` is when it may be
    taken; ``cancel_reason`` is why a running one is to end, and empty if no reason was given. Once it has ended the row
    is kept until ``expires_at``, for ever where that is None. All of these are on the wall clock, microseconds UTC.
    """

    project: str
    job_id: str
    kind: str
    ref: str
    args: dict[str, Any]
    state: str
    attempt: int
    worker: str | None
    lease_until: int | None
    event_at: int
    recorded_at: int
    finished_at: int | None = None
    progress: str | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    lane: str = "work"
    due_at: int = 0
    failures: int = 0
    cancel_reason: str | None = None
    expires_at: int | None = None


class HeldJob(msgspec.Struct, frozen=True):
    """A job that a worker does, as it tells with each sign of life: how far it is, None for as far as before."""

    project: str
    job_id: str
    progress: str | None = None


class JobLease(msgspec.Struct, frozen=True):
    """A job that a worker still holds; ``is_cancelled`` asks it to end the job."""

    project: str
    job_id: str
    is_cancelled: bool


class Queue(msgspec.Struct, frozen=True):
    """Open jobs of one kind and state: how many, and when the oldest was asked for (wall, microseconds UTC)."""

    kind: str
    state: str
    jobs: int
    oldest_at: int


class Unrest(msgspec.Struct, frozen=True):
    """What has not come to rest: the newest event's position, whether events wait for theirs, and open jobs."""

    position: int
    has_unsealed: bool
    has_jobs: bool


class Streams(msgspec.Struct, frozen=True):
    """A choice of streams of bulk rows: of one project, of some kinds, of one name; what is empty leaves all in."""

    project: str = ""
    kinds: tuple[str, ...] = ()
    stream: str = ""

    def hold(self, project: str, kind: str, stream: str) -> bool:
        """Say whether a stream is among them."""
        is_kind = not self.kinds or kind in self.kinds
        return is_kind and self.project in ("", project) and self.stream in ("", stream)


EVERY_STREAM = Streams()


class StoredChunk(msgspec.Struct, frozen=True):
    """What a writer tells of a sealed run of bulk rows, one Parquet blob, that is stored.

    ``kind`` is ``predictions``, ``labels`` or ``pushes``; ``stream`` the deployment or dataset. ``writer`` and ``seq``
    make sending it twice harmless; ``seq`` of merged ones is below zero. Ids are ULID-sorted; times are event times in
    microseconds UTC. ``about_first`` and ``about_last`` are the lowest and highest id of what the rows tell of: of
    labels, their predictions; empty where nobody looked.
    """

    kind: str
    stream: str
    writer: str
    seq: int
    digest: Digest
    rows: Count
    size_bytes: Count
    id_first: str
    id_last: str
    event_at_min: int
    event_at_max: int
    about_first: str = ""
    about_last: str = ""

    def may_tell_of(self, first: str, last: str) -> bool:
        """Say whether rows may tell of what has an id from ``first`` to ``last``."""
        return not self.about_first or (self.about_first <= last and self.about_last >= first)


class MergeGroup(msgspec.Struct, frozen=True):
    """What small chunks have in common that may become one of a level: a writer, and where they begin in event time.

    ``start_at`` is the beginning of the hour, or the day, microseconds UTC.
    """

    level: int
    kind: str
    stream: str
    writer: str
    start_at: int


class Chunk(StoredChunk, frozen=True, kw_only=True):
    """A stored chunk that the server knows of.

    ``recorded_at`` is wall time, microseconds UTC; of merged chunks that of the newest among them. ``level`` says how
    often it was merged: 0 as its writer sent it. ``profile_digest`` names the blob of what is known of its rows; empty
    where nobody counted them.
    """

    project: str
    chunk_id: str
    recorded_at: int
    level: int = 0
    profile_digest: MaybeDigest = ""


class StreamCursor(msgspec.Struct, frozen=True):
    """How far a stream was read by whoever takes each of its rows once.

    ``until`` is when the last chunk was stored that was read, wall time, microseconds UTC: chunks that are not read yet
    were all stored later, and no chunk is merged of both. ``waiting`` is a Parquet blob of rows that were read and
    wait; empty for none. ``has_more`` says that more was there than is taken at once.
    """

    kind: str
    stream: str
    until: int = 0
    waiting: MaybeDigest = ""
    has_more: bool = False


class Retention(msgspec.Struct, frozen=True):
    """How long rows of a stream are kept by event time, microseconds; None for ever.

    An empty ``stream`` is every stream of the kind that has no declaration of its own.
    """

    kind: str
    stream: str
    keep_us: int | None


class Removal(msgspec.Struct, frozen=True):
    """What retention removed of a stream: rows with event times in ``[start_at, end_at)``, and the range of their ids.

    ``removed_at`` is wall time; all times are microseconds UTC.
    """

    removal_id: str
    kind: str
    stream: str
    chunks: int
    rows: int
    size_bytes: int
    start_at: int
    end_at: int
    id_first: str
    id_last: str
    removed_at: int


class Tombstone(msgspec.Struct, frozen=True):
    """What is left of a thing that was deleted: its ref, when (wall), by whom and why, and what it was.

    ``facts`` are what lineage and ``why`` still tell of it, such as digests and what it was made from. Rows that
    belonged to it are gone by ``forgotten_at``; until then nobody sees them any more, and a job removes them.
    """

    ref: str
    kind: str
    name: str
    version: int | None
    deleted_at: int
    deleted_by: str
    reason: str
    facts: dict[str, Any]
    forgotten_at: int | None = None


BLOB_STORE = "blobs of "
"""How a blob store is named where the low disks are."""


SPOOL = "spool in "
"""How the folder of a gateway is named there, in whose spool rows wait while nobody works on it."""


LOOP = "loop "
"""How something that servers do again and again is named there."""


def loop_key(what: str, project: str = "", host: str = "") -> str:
    """Return the name of a loop among the low disks; without a host what one server does for all.

    >>> loop_key("collecting garbage"), loop_key("removing old rows", "flights")
    (':loop collecting garbage', ':loop removing old rows @flights')
    """
    return f"{host}:{LOOP}{what}{f' @{project}' if project else ''}"


class LowDisk(msgspec.Struct, frozen=True):
    """A disk of a server with hardly any room left, its blob store, which cannot be used, or a loop that fails.

    Or a spool on its disk that nobody seals. ``disk`` names host and folder, host and the address of the store or the
    gateway's folder, or as ``loop_key`` does; ``since`` and ``heard_at``, the first and the last time it was seen so,
    are wall time in microseconds UTC.
    """

    disk: str
    message: str
    since: int
    heard_at: int

    @property
    def host(self) -> str:
        """Whose it is."""
        return self.disk.partition(":")[0]

    @property
    def is_blob_store(self) -> bool:
        """Whether it is no disk."""
        return self.disk.startswith(f"{self.host}:{BLOB_STORE}")

    @property
    def spool_of(self) -> str:
        """The folder of a gateway that nobody works on and whose spool holds rows; empty for what is no spool."""
        what = self.disk.partition(":")[2]
        return what.removeprefix(SPOOL) if what.startswith(SPOOL) else ""

    @property
    def loop(self) -> str:
        """What servers do again and again and that fails; empty for what is no loop."""
        what = self.disk.partition(":")[2].partition(" @")[0]
        return what.removeprefix(LOOP) if what.startswith(LOOP) else ""

    @property
    def project(self) -> str:
        """For which project a loop fails; empty for all."""
        return self.disk.partition(" @")[2] if self.loop else ""
