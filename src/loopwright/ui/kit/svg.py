"""Small charts as SVG or numbers for HTML: pure functions of values, every text escaped, colours by class alone."""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
from markupsafe import Markup

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.ui.kit import words

HEAT_STEPS = 5
_MARKS = {
    "fine": "M2.5 6.5 5 9l4.5-6",
    "live": "M6 2.2a3.8 3.8 0 1 1 0 7.6a3.8 3.8 0 1 1 0-7.6Z",
    "warn": "M6 1.5 11 10.5 1 10.5Z",
    "bad": "M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5",
    "idle": "M2 6H10",
}
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 136, 10, 24


class Point(msgspec.Struct, frozen=True):
    """One value of a series at ``x``; ``low`` and ``high`` bound it where known. A ``y`` of None is a gap."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None


class Series(msgspec.Struct, frozen=True):
    """A named line; ``colour`` 1..6 is the same wherever the thing appears, 0 is neutral."""

    name: str
    colour: int
    points: list[Point]


class Mark(msgspec.Struct, frozen=True):
    """A moment worth a line across the chart, with its word."""

    x: float
    label: str


def mark(tone: str) -> Markup:
    """Return the shape of a state: check, ring, triangle, cross or bar."""
    path = _MARKS.get(tone, _MARKS["idle"])
    return Markup(
        '<svg class="mark" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true"><path d="{}"/></svg>'
    ).format(path)


def sparkline(values: Sequence[float | None], label: str, *, width: int = 108, height: int = 20) -> Markup:
    """Return a line of the last values, oldest left; unknown ones are gaps."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="dim">{}</span>').format(words.UNKNOWN)
    low, high = min(known), max(known)
    scale = (height - 5) / (high - low) if high > low else 0.0
    step = (width - 5) / max(1, len(values) - 1)
    points = [
        None if value is None else (2 + index * step, height - 2.5 - (value - low) * scale if scale else height / 2)
        for index, value in enumerate(values)
    ]
    last = next(point for point in reversed(points) if point is not None)
    said = f"{label}: {words.number(low)} to {words.number(high)}, last {words.number(known[-1])}"
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '<title>{}</title><path d="{}"/><circle cx="{:.1f}" cy="{:.1f}" r="1.8"/></svg>'
    ).format(said, width, height, width, height, said, _path(points), *last)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    parts, is_down = [], False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if is_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        is_down = point is not None
    return "".join(parts)


class Share(msgspec.Struct, frozen=True):
    """One part of a traffic bar: ``weight`` 0..1."""

    name: str
    word: str
    weight: float
    colour: int


def traffic_bar(shares: Sequence[Share]) -> Markup:
    """Return one bar whose parts are as wide as their shares of traffic; it stretches with the page."""
    said = ", ".join(f"{share.name} {words.percent(share.weight)}" for share in shares) or "no traffic"
    parts, left = [], 0.0
    for share in shares:
        if share.weight <= 0:
            continue
        wide = share.weight * 100
        text = Markup("")
        if wide >= 4:
            word = f" {share.word}" if wide >= 12 and share.word else ""
            text = Markup('<text x="{:.2f}%" dx="10" y="22"><tspan class="strong">{}</tspan>{} {}</text>').format(
                left, share.name, word, words.percent(share.weight)
            )
        parts.append(
            Markup('<g class="share s{}"><rect x="{:.2f}%" width="{:.2f}%" height="34"/>{}</g>').format(
                share.colour, left, wide, text
            )
        )
        left += wide
    return Markup('<svg class="traffic" role="img" aria-label="{}" width="100%" height="34">{}</svg>').format(
        f"traffic: {said}", Markup("").join(parts)
    )


def interval_bar(low: float | None, value: float | None, high: float | None, *, bound: float, label: str) -> Markup:
    """Return a 95 % interval as a bar around zero, ``bound`` being the end of the axis on both sides."""
    if low is None or high is None or value is None or bound <= 0:
        return Markup("")
    width, middle = 120, 60.0

    def at(number: float) -> float:
        return middle + max(-1.0, min(1.0, number / bound)) * (middle - 4)

    return Markup(
        '<svg class="interval" role="img" aria-label="{}" viewBox="0 0 120 16" width="{}" height="16">'
        '<path class="zero" d="M60 1V15"/><path class="range" d="M{:.1f} 8H{:.1f}M{:.1f} 5V11M{:.1f} 5V11"/>'
        '<circle cx="{:.1f}" cy="8" r="3"/></svg>'
    ).format(label, width, at(low), at(high), at(low), at(high), at(value))


def heat_step(value: float | None, above: float) -> int | None:
    """Return 0..4: quarters of the limit, 4 at or beyond it; None if unknown.

    >>> [heat_step(value, 0.2) for value in (0.01, 0.06, 0.11, 0.16, 0.2, None)]
    [0, 1, 2, 3, 4, None]
    """
    if value is None or math.isnan(value):
        return None
    if above <= 0:
        return 0
    return max(0, min(HEAT_STEPS - 1, int(value / above * (HEAT_STEPS - 1) + 1e-9)))


def time_bar(start: float, end: float, tone: str, label: str) -> Markup:
    """Return one row of a Gantt chart: from ``start`` to ``end`` of the whole, both 0..1."""
    return Markup(
        '<svg class="gantt {}" role="img" aria-label="{}" width="100%" height="14">'
        '<rect x="{:.2f}%" width="{:.2f}%" height="14" rx="3"/></svg>'
    ).format(tone, label, start * 100, max(0.4, (end - start) * 100))


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    x_kind: Literal["time", "step"] = "time",
    marks: Sequence[Mark] = (),
    width: int = 1100,
    height: int = 240,
) -> Markup:
    """Return lines with their interval bands, gridlines, and each line's name at its end."""
    drawn = [one for one in series if any(point.y is not None for point in one.points)]
    if not drawn:
        return Markup('<p class="empty">{}</p>').format("nothing to draw yet")
    frame = _frame(drawn, width, height)
    body = [_grid(frame, x_kind)]
    body += [_mark_line(frame, mark) for mark in marks if frame.x0 <= mark.x <= frame.x1]
    body += [_band(frame, series) for series in drawn]
    body += [_line(frame, series) for series in drawn]
    body.append(_names(frame, drawn))
    return Markup(
        '<svg class="lines" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">{}</svg>'
    ).format(label, width, height, width, height, Markup("").join(body))


class _Frame(msgspec.Struct, frozen=True):
    """The ranges a chart covers and the pixels it has."""

    x0: float
    x1: float
    y0: float
    y1: float
    ticks: list[float]
    width: int
    height: int

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / ((self.x1 - self.x0) or 1) * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        inner = self.height - _TOP - _BOTTOM
        return _TOP + (1 - (value - self.y0) / ((self.y1 - self.y0) or 1)) * inner


def _frame(series: Sequence[Series], width: int, height: int) -> _Frame:
    xs = [point.x for one in series for point in one.points]
    ys = [
        value
        for one in series
        for point in one.points
        for value in (point.y, point.low, point.high)
        if value is not None and math.isfinite(value)
    ]
    ticks = nice_ticks(min(ys), max(ys))
    return _Frame(min(xs), max(xs), ticks[0], ticks[-1], ticks, width, height)


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round values that enclose the range.

    >>> nice_ticks(0.64, 0.81)
    [0.6, 0.65, 0.7, 0.75, 0.8, 0.85]
    """
    if high - low <= 1e-8 * max(1.0, abs(low), abs(high)):
        pad = max(abs(low), abs(high)) * 0.1
        pad = pad if pad > 1e-6 else 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _grid(frame: _Frame, x_kind: str) -> Markup:
    right = frame.width - _RIGHT
    digits = max((len(f"{tick:g}".partition(".")[2]) for tick in frame.ticks), default=0)
    parts = [
        Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="tick end" x="{}" y="{:.1f}">{}</text>').format(
            _LEFT, frame.y(tick), right, _LEFT - 6, frame.y(tick) + 4, words.number(float(tick), digits)
        )
        for tick in frame.ticks
    ]
    for at, text in _time_ticks(frame) if x_kind == "time" else _step_ticks(frame):
        parts.append(
            Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(frame.x(at), frame.height - 6, text)
        )
    return Markup("").join(parts)


def _step_ticks(frame: _Frame) -> list[tuple[float, str]]:
    ticks = nice_ticks(frame.x0, frame.x1, 6)
    return [(tick, words.number(tick)) for tick in ticks if frame.x0 <= tick <= frame.x1]


def _time_ticks(frame: _Frame) -> list[tuple[float, str]]:
    whole = frame.x1 - frame.x0
    if whole > 120 * DAY_US:
        days = range(int(frame.x0 // DAY_US), int(frame.x1 // DAY_US) + 1)
        firsts = [day for day in days if words.day(day * DAY_US).startswith("1 ")]
        keep = max(1, math.ceil(len(firsts) / 12))
        return [(day * DAY_US, words.month(day * DAY_US)) for day in firsts[::keep] if day * DAY_US >= frame.x0]
    if whole < 3 * DAY_US:
        step = max(HOUR_US, int(whole / 6 // HOUR_US) * HOUR_US)
        hours = range(int(-(-frame.x0 // step)), int(frame.x1 // step) + 1)
        return [(hour * step, words.moment(hour * step)[11:]) for hour in hours]
    step = max(1, round(whole / DAY_US / 8)) * DAY_US
    return [(at * step, words.day(at * step)) for at in range(int(-(-frame.x0 // step)), int(frame.x1 // step) + 1)]


def _mark_line(frame: _Frame, one: Mark) -> Markup:
    x = frame.x(one.x)
    bottom = frame.height - _BOTTOM
    return Markup(
        '<g class="event"><title>{}</title><path d="M{:.1f} {}V{}"/><text x="{:.1f}" y="{}">{}</text></g>'
    ).format(one.label, x, _TOP, bottom, x + 3, _TOP + 9, one.label[:10])


def _band(frame: _Frame, series: Series) -> Markup:
    runs: list[list[Point]] = [[]]
    for point in series.points:
        if point.low is None or point.high is None:
            runs.append([])
        else:
            runs[-1].append(point)
    parts = []
    for run in runs:
        if len(run) < 2:
            continue
        there = [f"{frame.x(p.x):.1f} {frame.y(p.high):.1f}" for p in run if p.high is not None]
        back = [f"{frame.x(p.x):.1f} {frame.y(p.low):.1f}" for p in reversed(run) if p.low is not None]
        parts.append(f"M{'L'.join(there)}L{'L'.join(back)}Z")
    return Markup('<path class="band s{}" d="{}"/>').format(series.colour, "".join(parts)) if parts else Markup("")


def _line(frame: _Frame, series: Series) -> Markup:
    points = [None if p.y is None or not math.isfinite(p.y) else (frame.x(p.x), frame.y(p.y)) for p in series.points]
    known = [point for point in points if point is not None]
    dots = known if len(known) <= 2 else known[-1:]
    circles = Markup("").join(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(*point) for point in dots)
    return Markup('<g class="line s{}"><path d="{}"/>{}</g>').format(series.colour, _path(points), circles)


def _names(frame: _Frame, series: Sequence[Series]) -> Markup:
    """Write each line's name and last value at its end, pushed apart so that none covers another.

    A line that ends before the others bears the last word of its name alone.
    """
    ends = {one.name: next(point for point in reversed(one.points) if point.y is not None) for one in series}
    newest = max(point.x for point in ends.values())
    parts = [_short_name(frame, one) for one in series if ends[one.name].x < newest]
    lasts = {one.name: ends[one.name].y or 0.0 for one in series}
    ordered = sorted((one for one in series if ends[one.name].x == newest), key=lambda one: frame.y(lasts[one.name]))
    places: list[float] = []
    for one in ordered:
        places.append(max(frame.y(lasts[one.name]), places[-1] + 14 if places else 0.0))
    over = max(0.0, places[-1] - (frame.height - _BOTTOM))
    parts += [
        Markup('<text class="name s{}" x="{}" y="{:.1f}">{} {}</text>').format(
            one.colour,
            frame.width - _RIGHT + 8,
            place - over + 4,
            one.name[:14],
            words.number(lasts[one.name], 3 if abs(lasts[one.name]) < 10 else 0),
        )
        for place, one in zip(places, ordered, strict=True)
    ]
    return Markup("").join(parts)


def _short_name(frame: _Frame, series: Series) -> Markup:
    """Write the last word of a line's name, such as the version of a candidate, above its highest point."""
    top = max((point for point in series.points if point.y is not None), key=lambda point: point.y or 0.0)
    return Markup('<text class="name middle s{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        series.colour, frame.x(top.x), frame.y(top.y or 0.0) - 6, series.name.rpartition(" ")[2][:14]
    )
