"""How the values of a column are spread, drawn small from its profile: pure functions, every text escaped."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from loopwright.ui.kit import words

if TYPE_CHECKING:
    from loopwright.data import profiles

BARS = 24
_WIDTH, _HEIGHT = 120, 28
_MOST_SHARES = 6
_SAME = 1e-9


def bars(column: "profiles.ColumnProfile", low: float, high: float, places: int = BARS) -> list[float]:
    """Return how many values lie in each of so many equal parts of a range, infinities left out.

    The profile's own bins are of different widths. Values of one are spread evenly over it, unless their sum says that
    they are all its lower bound; so the counts of parts are estimates that add up to the exact number.

    Args:
        column: Of numbers or moments; of others there are no bars.
        low: Where the first part begins.
        high: Where the last one ends.
        places: How many parts.
    """
    import numpy as np

    stretches = _moments(column) if column.kind == "moment" else _numbers(column)
    if not stretches:
        return []
    starts, ends, counts = (np.array(values, np.float64) for values in zip(*stretches, strict=True))
    whole = high - low
    if not whole > 0 or not math.isfinite(whole):
        return [0.0] * (places // 2) + [float(counts.sum())] + [0.0] * (places - places // 2 - 1)
    first, last = (np.clip((at - low) / whole * places, 0, places) for at in (starts, ends))
    is_point = last - first <= _SAME
    at = np.minimum(first[is_point].astype(np.int64), places - 1)
    found = np.bincount(at, weights=counts[is_point], minlength=places)
    if not is_point.all():
        first, last, counts = (values[~is_point] for values in (first, last, counts))
        # Stretches follow each other, so what lies below a cut grows along each of them and stands still between two.
        knots, below = np.column_stack([first, last]).ravel(), np.concatenate([[0.0], np.cumsum(counts)])
        grown = np.column_stack([below[:-1], below[1:]]).ravel()
        found = found + np.diff(np.interp(np.arange(places + 1), knots, grown))
    return [round(float(count), 6) for count in found]


def _numbers(column: "profiles.ColumnProfile") -> list[tuple[float, float, float]]:
    if not column.is_number or column.low is None or column.high is None or not column.bin_counts:
        return []
    starts = [column.low, *column.edges]
    ends = [*column.edges, column.high]
    found = []
    for place, count in enumerate(column.bin_counts):
        if not count:
            continue
        start, end = max(starts[place], column.low), min(ends[place], column.high)
        mean = column.bin_sums[place] / count if column.bin_sums else math.nan
        is_point = place > 0 and abs(mean - start) <= _SAME * max(1.0, abs(start))
        found.append((start, start if is_point else end, float(count)))
    return found


def _moments(column: "profiles.ColumnProfile") -> list[tuple[float, float, float]]:
    spread = column.spread
    if spread is None or column.low is None or column.high is None:
        return []
    width, begin = float(2**spread.level), float(spread.first) * 2.0**spread.level
    return [
        (max(column.low, begin + place * width), min(column.high, begin + (place + 1) * width), float(count))
        for place, count in enumerate(spread.counts)
        if count
    ]


def histogram(counts: Sequence[float], label: str) -> Markup:
    """Return bars as high as counts; the highest fills the picture, and what is not nothing is seen."""
    if not any(counts):
        return Markup("")
    return Markup(
        '<svg class="spread" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '<title>{}</title><path class="was" d="{}"/></svg>'
    ).format(label, _WIDTH, _HEIGHT, _WIDTH, _HEIGHT, label, _filled(counts, max(counts)))


def overlaid(before: Sequence[float], after: Sequence[float], label: str) -> Markup:
    """Return two histograms on each other, each of shares of its own values: the first filled, the second as a line."""
    was, now = _as_shares(before), _as_shares(after)
    top = max([*was, *now], default=0.0)
    if not top:
        return Markup("")
    return Markup(
        '<svg class="spread two" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '<title>{}</title><path class="was" d="{}"/><path class="now" d="{}"/></svg>'
    ).format(
        label,
        _WIDTH,
        _HEIGHT,
        _WIDTH,
        _HEIGHT,
        label,
        _filled(was, top) if any(was) else "",
        _outline(now, top) if any(now) else "",
    )


def _as_shares(counts: Sequence[float]) -> list[float]:
    whole = sum(counts)
    return [count / whole for count in counts] if whole else [0.0] * len(counts)


def _height(count: float, top: float) -> float:
    return max(1.0, count / top * (_HEIGHT - 2)) if count > 0 else 0.0


def _filled(counts: Sequence[float], top: float) -> str:
    step = _WIDTH / len(counts)
    parts = []
    for place, count in enumerate(counts):
        if count > 0:
            tall = _height(count, top)
            parts.append(f"M{place * step:.1f} {_HEIGHT}v-{tall:.1f}h{max(1.0, step - 0.8):.1f}v{tall:.1f}z")
    return "".join(parts)


def _outline(counts: Sequence[float], top: float) -> str:
    step, at = _WIDTH / len(counts), f"M0 {_HEIGHT - 0.7}"
    for place, count in enumerate(counts):
        at += f"V{_HEIGHT - 0.7 - _height(count, top):.1f}H{(place + 1) * step:.1f}"
    return f"{at}V{_HEIGHT - 0.7}"


def shares_bar(shares: Sequence[tuple[str, float]], label: str) -> Markup:
    """Return one bar cut into the shares of the commonest values, 0..1; what is left of it are all others."""
    parts, left = [], 0.0
    for place, (_, share) in enumerate(shares[:_MOST_SHARES]):
        wide = max(0.0, min(share * _WIDTH, _WIDTH - left))
        parts.append(
            Markup('<rect class="p{}" x="{:.1f}" width="{:.1f}" height="10"/>').format(
                place, left, max(0.6, wide - 0.8)
            )
        )
        left += wide
    return Markup(
        '<svg class="shares" role="img" aria-label="{}" viewBox="0 0 {} 10" width="{}" height="10"><title>{}</title>'
        '<rect class="rest" width="{}" height="10"/>{}</svg>'
    ).format(label, _WIDTH, _WIDTH, label, _WIDTH, Markup("").join(parts))


def shares_pair(before: float | None, after: float | None, top: float, label: str) -> Markup:
    """Return two bars under each other, as long as the shares of one value before and after; ``top`` is the longest."""
    if not top:
        return Markup("")
    wide = [max(0.0, (share or 0.0) / top * (_WIDTH - 2)) for share in (before, after)]
    return Markup(
        '<svg class="spread two pair" role="img" aria-label="{}" viewBox="0 0 {} 14" width="{}" height="14">'
        '<title>{}</title><rect class="was" y="1" width="{:.1f}" height="5"/>'
        '<rect class="now" x="0.7" y="8" width="{:.1f}" height="5"/></svg>'
    ).format(label, _WIDTH, _WIDTH, label, *wide)


def said_shares(shares: Sequence[tuple[str, float]], most: int = 3) -> str:
    """Return the commonest values in words.

    >>> said_shares([("JFK", 0.5), ("EWR", 0.25)]).replace(chr(0x202f), " ")
    'JFK 50 %, EWR 25 %'
    """
    return ", ".join(f"{value or 'empty text'} {words.percent(share)}" for value, share in shares[:most])
