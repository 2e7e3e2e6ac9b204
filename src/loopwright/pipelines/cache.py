"""The step cache: a step whose code, inputs and environment are the same is not run again."""

import platform
from functools import cache
from importlib import metadata
from typing import Any

import msgspec

from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import digest_of
from loopwright.kernel.version import VERSION
from loopwright.pipelines import sql
from loopwright.pipelines.types import StepSpec
from loopwright.store.tx import Tx


class Hit(msgspec.Struct, frozen=True):
    """What an earlier step of the same key gave."""

    output: Any
    log_digest: Digest | None


def find_hit(tx: Tx, cache_key: str) -> Hit | None:
    """Return the output kept under a key; one query."""
    found = sql.find_cached(tx.connection, tx.project, cache_key)
    return None if found is None else Hit(*found)


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
    found = {(one.name or "", one.version or "") for one in metadata.distributions()}
    return digest_of([platform.python_version(), platform.machine(), sorted(found)])
