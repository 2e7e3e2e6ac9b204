"""Where did this answer come from?"""

from loopwright.kernel.documents import from_json
from loopwright.loop import ProvenanceNode, why
from loopwright.ui.kit.addresses import name_of, page_of
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.graph import Node
from loopwright.ui.kit.rendering import View, page


def show_prediction(ask: Ask) -> View:
    """Return everything behind one answer, as sentences, as a graph, and the features it was given."""
    provenance = ask.operate(why.why, prediction_id=ask.part("prediction_id"))
    first = provenance.nodes[0].details if provenance.nodes else {}
    missing = first.get("missing")
    facts = {
        "provenance": provenance,
        "answer": {
            name: value for name, value in first.items() if not isinstance(value, dict | list) and name != "missing"
        },
        "features": first.get("features") or {},
        "missing": from_json(missing, dict[str, str]) if isinstance(missing, str) else missing or {},
        "shadows": first.get("shadows") or [],
    }
    keys = {node.ref for node in provenance.nodes}
    nodes = [_node(ask, node, is_subject=index == 0) for index, node in enumerate(provenance.nodes)]
    edges = [(edge[1], edge[0]) for edge in provenance.edges if len(edge) >= 2 and {edge[0], edge[1]} <= keys]
    return View("serving/prediction.html", "Why this answer", "Deployments", facts, {"nodes": nodes, "edges": edges})


def _node(ask: Ask, node: ProvenanceNode, *, is_subject: bool) -> Node:
    label = name_of(node.ref, ask.project)
    return Node(
        node.ref, node.kind.replace("_", " "), label, "" if is_subject else page_of(node.ref, ask.project), is_subject
    )


ROUTES = page("/predictions/{prediction_id}", show_prediction)
