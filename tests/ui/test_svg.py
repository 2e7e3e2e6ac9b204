"""Charts: pure, escaped, and honest about what is unknown."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.ui.kit import svg
from loopwright.ui.kit.graph import MOST_NODES, Node, draw_graph, place
from tests.ui.seed_ground import NASTY

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)


def test_text_from_outside_is_escaped_in_every_chart() -> None:
    points = [svg.Point(0, 1.0, 0.5, 1.5), svg.Point(1, 2.0, 1.5, 2.5)]
    drawn = [
        svg.sparkline([1, 2], NASTY),
        svg.traffic_bar([svg.Share(NASTY, NASTY, 1.0, 1)]),
        svg.interval_bar(-1, 0, 1, bound=2, label=NASTY),
        svg.line_chart([svg.Series(NASTY, 1, points)], label=NASTY, x_kind="step", marks=[svg.Mark(0.5, NASTY)]),
        draw_graph([Node(NASTY, NASTY, NASTY, f'/"{NASTY}')], [], NASTY),
        svg.time_bar(0, 1, "fine", NASTY),
    ]
    assert not [one for one in drawn if "<script" in one or "<img" in one]


def test_a_gap_is_not_drawn_as_zero() -> None:
    drawn = svg.sparkline([1.0, None, 3.0], "x")
    assert drawn.count("M") == 2
    assert svg.heat_step(None, 0.2) is None
    assert "–" in svg.sparkline([None, None], "x")


@given(st.floats(0, 100), st.floats(1e-6, 100))
def test_the_hottest_step_begins_at_the_limit(distance: float, above: float) -> None:
    step = svg.heat_step(distance, above)
    assert step is not None
    assert (step == svg.HEAT_STEPS - 1) == (distance / above * 4 + 1e-9 >= 4)


@given(FINITE, FINITE)
def test_ticks_enclose_the_range(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    ticks = svg.nice_ticks(low, high)
    margin = (ticks[-1] - ticks[0]) * 1e-6
    assert ticks[0] - margin <= low
    assert high <= ticks[-1] + margin
    assert 2 <= len(ticks) <= 12


edges = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40)


@given(edges)
def test_sources_stand_left_of_what_was_made_of_them(pairs: list[tuple[int, int]]) -> None:
    forward = [(str(min(a, b)), str(max(a, b))) for a, b in pairs if a != b]
    placed = {one.node.key: one for one in place([Node(str(n), "k", str(n)) for n in range(13)], forward)}
    assert all(placed[source].layer < placed[target].layer for source, target in forward)
    assert len({(one.x, one.y) for one in placed.values()}) == len(placed)


@given(edges)
def test_circles_end(pairs: list[tuple[int, int]]) -> None:
    assert len(place([Node(str(n), "k", str(n)) for n in range(13)], [(str(a), str(b)) for a, b in pairs])) == 13


def test_a_graph_stays_small() -> None:
    nodes = [Node(str(n), "k", str(n)) for n in range(200)]
    assert len(place(nodes, [(str(n), str(n + 1)) for n in range(199)])) == MOST_NODES
