"""Queries of models: a model is there once a version of it is registered."""

from loopwright.kernel.verbs import query
from loopwright.registry import sql
from loopwright.registry.types import Model
from loopwright.store.tx import Tx


@query("registry.models")
def list_models(tx: Tx) -> list[Model]:
    """Return every model by name, with its newest version and its aliases."""
    return sql.list_models(tx)
