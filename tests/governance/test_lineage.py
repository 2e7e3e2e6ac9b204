"""Lineage: every ancestor once, whatever the shape of the graph."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher, lineage
from loopwright.store.tx import Tx


def test_upstream_and_downstream(tx: Tx) -> None:
    lineage.link(tx, "model:late/1", "trained_on", "training_set:late/1")
    lineage.link(tx, "training_set:late/1", "joined_from", "dataset:flights/1", "dataset:weather/2")
    up = lineage.upstream(tx, ref="model:late/1")
    assert {edge.parent for edge in up} == {"training_set:late/1", "dataset:flights/1", "dataset:weather/2"}
    assert {edge.child for edge in lineage.downstream(tx, ref="dataset:weather/2")} == {
        "training_set:late/1",
        "model:late/1",
    }
    assert len(lineage.upstream(tx, ref="model:late/1", depth=1)) == 1
    assert lineage.upstream(tx, ref="model:late/2") == []


def test_linking_twice_is_once_and_a_ring_ends(tx: Tx) -> None:
    for _ in range(2):
        lineage.link(tx, "a:x", "of", "b:x")
        lineage.link(tx, "b:x", "of", "a:x")
    assert len(lineage.upstream(tx, ref="a:x", depth=10**12)) == 2


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edges=st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda edge: edge[0] < edge[1]), max_size=15)
)
def test_a_walk_finds_what_a_plain_search_finds(tx: Tx, edges: set[tuple[int, int]]) -> None:
    run = tx.new_id("run")
    for child, parent in edges:
        lineage.link(tx, f"{run}:{child}", "of", f"{run}:{parent}")
    reached, waiting = set(), [0]
    while waiting:
        found = {parent for child, parent in edges if child == waiting[0]} - reached
        reached |= found
        waiting = [*waiting[1:], *found]
    assert {edge.parent for edge in lineage.upstream(tx, ref=f"{run}:0")} == {f"{run}:{node}" for node in reached}


def test_another_project_has_another_graph(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project=SYSTEM)
    dispatcher.write("other", LOCAL_ACTOR, lambda tx: lineage.link(tx, "model:late/1", "of", "dataset:secret/1"))
    assert call("lineage.upstream", ref="model:late/1") == []
