"""Lineage: the graph of what was made from what."""

from collections.abc import Sequence

from loopwright.governance import sql
from loopwright.governance.types import LineageEdge
from loopwright.kernel.verbs import Count, query
from loopwright.store.tx import Tx

MOST_STEPS = 100
"""Longest walk; a graph with a ring in it ends here."""


def link(tx: Tx, child: str, relation: str, *parents: str) -> None:
    """Record that ``child`` was made from ``parents`` (refs as text), in this transaction."""
    edges = [LineageEdge(child, parent, relation) for parent in parents]
    sql.insert_edges(tx, edges)


def made_of(tx: Tx, refs: Sequence[str], relations: Sequence[str]) -> list[LineageEdge]:
    """Return the edges of some relations from many refs to what was made of them directly."""
    return sql.edges_from(tx, refs, relations)


@query("lineage.upstream")
def upstream(tx: Tx, *, ref: str, depth: Count = 20) -> list[LineageEdge]:
    """Return every edge from a ref up to its sources."""
    return sql.walk_edges(tx, ref, upwards=True, depth=min(depth, MOST_STEPS))


@query("lineage.downstream")
def downstream(tx: Tx, *, ref: str, depth: Count = 20) -> list[LineageEdge]:
    """Return every edge from a ref down to what was made of it."""
    return sql.walk_edges(tx, ref, upwards=False, depth=min(depth, MOST_STEPS))
