"""Where does this come from, and who depends on it?"""

from collections.abc import Sequence

from loopwright import data, registry, serving
from loopwright.governance import LineageEdge, lineage
from loopwright.kernel.refs import parse_ref
from loopwright.loop import deletion
from loopwright.store.tombstones import tell_tombstone
from loopwright.ui.kit.addresses import address, kind_of, name_of, page_of, short_ref
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.graph import MOST_NODES, Node
from loopwright.ui.kit.rendering import Elsewhere, View, page


def neighbourhood(
    ask: Ask, ref: str, upstream: Sequence[LineageEdge], downstream: Sequence[LineageEdge]
) -> tuple[list[Node], list[tuple[str, str]]]:
    """Return nodes and (source, target) edges around a ref, the nearest first, at most as many as a graph shows."""
    edges = [(edge.parent, edge.child) for edge in (*upstream, *downstream)]
    near, seen = [ref], {ref}
    links: dict[str, list[str]] = {}
    for source, target in edges:
        links.setdefault(source, []).append(target)
        links.setdefault(target, []).append(source)
    for place in near:
        fresh = [other for other in links.get(place, []) if other not in seen]
        for other in dict.fromkeys(fresh):
            seen.add(other)
            near.append(other)
    nodes = [
        Node(
            key,
            kind_of(key, ask.project),
            name_of(key, ask.project),
            address(ask.project, "lineage", *short_ref(key, ask.project).split("/")),
            key == ref,
        )
        for key in near[:MOST_NODES]
    ]
    return nodes, edges


def show_lineage(ask: Ask) -> View:
    """Return what a ref was made from and what was made of it."""
    ref = str(parse_ref(ask.part("ref"), ask.project))
    depth = max(1, min(ask.asked_number("depth") or 3, 20))
    upstream = ask(lineage.upstream, ref=ref, depth=depth)
    downstream = ask(lineage.downstream, ref=ref, depth=depth)
    nodes, edges = neighbourhood(ask, ref, upstream, downstream)
    own_page = page_of(ref, ask.project)
    left = next(iter(ask(deletion.list_tombstones, ref=ref, limit=1)), None)
    facts = {
        "ref": ref,
        "depth": depth,
        "upstream": upstream[:100],
        "downstream": downstream[:100],
        "upstream_count": len(upstream),
        "downstream_count": len(downstream),
        "page": "" if "/lineage/" in own_page else own_page,
        "gone": None if left is None else tell_tombstone(left),
    }
    return View(
        "governance/lineage.html", short_ref(ref, ask.project), "Lineage", facts, {"nodes": nodes, "edges": edges}
    )


def find_lineage(ask: Ask) -> View | Elsewhere:
    """Lead to the ref that was asked for, or show where to start."""
    text = ask.asked("ref")
    if text:
        ref = parse_ref(text, ask.project)
        return Elsewhere(address(ask.project, "lineage", *short_ref(str(ref), ask.project).split("/")))
    starts = [f"model:{model.model}/{model.versions}" for model in ask(registry.list_models) if model.versions]
    starts += [f"deployment:{deployment.name}" for deployment in ask(serving.list_deployments)]
    starts += [f"dataset:{dataset.name}" for dataset in ask(data.list_datasets)]
    return View("governance/find_lineage.html", "Lineage", "Lineage", {"starts": starts[:100]})


ROUTES = [*page("/lineage", find_lineage), *page("/lineage/{ref:path}", show_lineage)]
