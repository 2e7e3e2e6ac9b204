"""Layered graphs as SVG: sources left, what was made of them right; never more than ``MOST_NODES``."""

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from markupsafe import Markup, escape

MOST_NODES = 60
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _PAD = 144, 42, 26, 12, 4
_SWEEPS = 4


class Node(msgspec.Struct, frozen=True):
    """One box: ``kind`` above its ``label``; ``href`` makes it a link, ``is_subject`` marks what the page is about."""

    key: str
    kind: str
    label: str
    href: str = ""
    is_subject: bool = False


class Placed(msgspec.Struct, frozen=True):
    """A node with its layer, 0 being the leftmost, and its upper left corner in pixels."""

    node: Node
    layer: int
    x: float
    y: float


def place(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> list[Placed]:
    """Lay nodes out in layers by the longest path from a source, ordered so that few edges cross.

    Args:
        nodes: At most ``MOST_NODES`` are placed.
        edges: (source, target) pairs of keys; those that name no node, or close a circle, count for nothing.
    """
    kept = list(nodes)[:MOST_NODES]
    keys = {node.key for node in kept}
    links = [(source, target) for source, target in edges if source in keys and target in keys and source != target]
    layer_of = _layers([node.key for node in kept], links)
    columns: dict[int, list[str]] = defaultdict(list)
    for node in kept:
        columns[layer_of[node.key]].append(node.key)
    _untangle(columns, links)
    tallest = max((len(column) for column in columns.values()), default=0)
    by_key = {node.key: node for node in kept}
    placed = []
    for layer, column in sorted(columns.items()):
        top = (tallest - len(column)) * (_HEIGHT + _GAP_Y) / 2
        for row, key in enumerate(column):
            x, y = _PAD + layer * (_WIDTH + _GAP_X), _PAD + top + row * (_HEIGHT + _GAP_Y)
            placed.append(Placed(by_key[key], layer, x, y))
    return placed


def _layers(keys: list[str], links: list[tuple[str, str]]) -> dict[str, int]:
    """Return the length of the longest path to each key; rounds are limited, so circles end."""
    layer_of = dict.fromkeys(keys, 0)
    for _ in range(len(keys)):
        is_changed = False
        for source, target in links:
            if layer_of[target] < layer_of[source] + 1 <= len(keys):
                layer_of[target], is_changed = layer_of[source] + 1, True
        if not is_changed:
            break
    outgoing = defaultdict(list)
    for source, target in links:
        outgoing[source].append(target)
    incoming = {target for _, target in links}
    for key in keys:
        if key not in incoming and outgoing[key]:
            layer_of[key] = max(0, min(layer_of[target] for target in outgoing[key]) - 1)
    used = {layer: rank for rank, layer in enumerate(sorted(set(layer_of.values())))}
    return {key: used[layer] for key, layer in layer_of.items()}


def _untangle(columns: dict[int, list[str]], links: list[tuple[str, str]]) -> None:
    """Sort each column by the mean place of its neighbours, a few times in both directions."""
    neighbours = defaultdict(list)
    for source, target in links:
        neighbours[source].append(target)
        neighbours[target].append(source)
    for sweep in range(_SWEEPS):
        order = {key: rank - len(column) / 2 for column in columns.values() for rank, key in enumerate(column)}
        for layer in sorted(columns, reverse=bool(sweep % 2)):
            means = {
                key: sum(order[other] for other in neighbours[key]) / len(neighbours[key])
                if neighbours[key]
                else order[key]
                for key in columns[layer]
            }
            columns[layer].sort(key=lambda key: means[key])
            order.update({key: rank - len(columns[layer]) / 2 for rank, key in enumerate(columns[layer])})


def draw_graph(nodes: Sequence[Node], edges: Sequence[tuple[str, str]], label: str) -> Markup:
    """Return the graph as SVG; each node is a link and carries its full name as title."""
    placed = {placed.node.key: placed for placed in place(nodes, edges)}
    width = max((one.x for one in placed.values()), default=0) + _WIDTH + _PAD
    height = max((one.y for one in placed.values()), default=0) + _HEIGHT + _PAD
    lines = [_edge(placed[a], placed[b]) for a, b in edges if a in placed and b in placed and a != b]
    boxes = [_box(one) for one in placed.values()]
    return Markup(
        '<svg class="graph" role="group" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}">{}{}</svg>'
    ).format(
        label, round(width), round(height), round(width), round(height), Markup("").join(lines), Markup("").join(boxes)
    )


def _edge(source: Placed, target: Placed) -> Markup:
    x1, y1 = source.x + _WIDTH, source.y + _HEIGHT / 2
    x2, y2 = target.x, target.y + _HEIGHT / 2
    bend = _GAP_X * 0.6
    path = f"M{x1:.0f} {y1:.1f}C{x1 + bend:.0f} {y1:.1f} {x2 - bend:.0f} {y2:.1f} {x2:.0f} {y2:.1f}"
    return Markup('<path class="edge" d="{}"/>').format(path)


def _box(placed: Placed) -> Markup:
    node = placed.node
    inner = Markup(
        '<title>{} {}</title><rect class="node{}" x="{}" y="{}" width="{}" height="{}" rx="4"/>'
        '<text class="node-kind" x="{}" y="{}">{}</text><text class="node-label" x="{}" y="{}">{}</text>'
    ).format(
        node.kind,
        node.label,
        " subject" if node.is_subject else "",
        *(round(value, 1) for value in (placed.x, placed.y, _WIDTH, _HEIGHT, placed.x + 9, placed.y + 16)),
        _cut(node.kind, 24),
        *(round(value, 1) for value in (placed.x + 9, placed.y + 32)),
        _cut(node.label, 18),
    )
    return Markup('<a href="{}">{}</a>').format(node.href, inner) if node.href else Markup("<g>{}</g>").format(inner)


def _cut(text: str, letters: int) -> Markup:
    return escape(text if len(text) <= letters else text[: letters - 1] + "…")
