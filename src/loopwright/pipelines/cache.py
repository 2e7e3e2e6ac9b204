"""The step cache: a step whose code, inputs and environment are the same is not run again."""

import platform
from functools import cache, partial
from importlib import metadata
from typing import Any

import msgspec

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import digest_of
from loopwright.kernel.version import VERSION
from loopwright.pipelines import sql
from loopwright.pipelines.types import StepSpec
from loopwright.store.engine import Database
from loopwright.store.garbage import Freed
from loopwright.store.tx import Tx

_ROWS_AT_ONCE = 200
"""Outputs that are forgotten in one transaction: others write between two."""


class Hit(msgspec.Struct, frozen=True):
    """What an earlier step of the same key gave."""

    output: Any
    log_digest: Digest | None


def find_hit(tx: Tx, cache_key: str) -> Hit | None:
    """Return the output kept under a key, and record once a day that it was of use."""
    found = sql.find_cached(tx, cache_key)
    if found is None:
        return None
    output, log_digest, used_at = found
    if used_at < tx.wall_us - DAY_US:
        sql.mark_used(tx, cache_key)
    return Hit(output, log_digest)


def forget_unused_outputs(database: Database, before_us: int, *, is_plan: bool = False) -> Freed:
    """Forget the outputs of every project that spared no step since a moment; return how many.

    An execution names the outputs of its own steps, so it loses none; a step of the same key is run again. Blobs that
    were kept for this alone go as whatever no row names.

    Args:
        database: Where they are.
        before_us: Wall time, microseconds UTC.
        is_plan: True to count them alone.
    """
    with database.reading() as connection:
        found = sql.count_unused(connection, before_us)
    while not is_plan and database.write(partial(sql.forget_unused, before_us=before_us, limit=_ROWS_AT_ONCE)):
        pass
    return Freed("outputs kept for steps to come", found, 0)


def cache_key(step: StepSpec, inputs: dict[str, Any], environment: str) -> str | None:
    """Return the key of a step with resolved inputs; None if its output may not be reused.

    The key covers the function's digest (for a platform step its kind and our version), every input by value or digest,
    and the environment: that of the worker, whose digest it tells, for the step runs there.
    """
    if not step.is_cached:
        return None
    code = step.function.function_digest if step.function is not None else VERSION
    return digest_of([step.kind, code, inputs, environment])


@cache
def environment_digest() -> str:
    """Return the digest of the interpreter's version and of every installed distribution."""
    found = {(distribution.name or "", distribution.version or "") for distribution in metadata.distributions()}
    return digest_of([platform.python_version(), platform.machine(), sorted(found)])
