"""Whose rows a project has: the names that a declaration about streams may use."""

from collections.abc import Iterable

from loopwright import data, serving, tracking
from loopwright.kernel.errors import NotFound
from loopwright.kernel.suggestions import suggest
from loopwright.store.retention import noun_of
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx


def require_stream(tx: Tx, kind: str, stream: str, field: str, declared_too: Iterable[str] = ()) -> None:
    """Make sure that there is a stream of a name: a misspelt one would be obeyed, and nothing come of it.

    Args:
        tx: The open transaction.
        kind: Of its rows, as retention has it.
        stream: Deployment, dataset or experiment.
        field: Which field of the call names it.
        declared_too: Names that the same call declares.

    Raises:
        NotFound: There is none; suggests the nearest, or says that it was deleted.
    """
    known = {*_names(tx, kind), *declared_too}
    if stream in known:
        return
    noun = noun_of(kind)
    unknown = NotFound(f"no {noun} is named {stream}", field=field, value=stream, next_step=suggest(stream, known))
    raise missing(tx, noun, stream, None, unknown)


def _names(tx: Tx, kind: str) -> list[str]:
    if kind == "points":
        return [each.name for each in tracking.list_experiments(tx)]
    if kind == "pushes":
        return [each.spec.name for each in data.list_datasets(tx)]
    return [each.spec.name for each in serving.list_deployments(tx)]
