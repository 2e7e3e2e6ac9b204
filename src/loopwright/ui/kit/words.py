"""How values are written: numbers with units, ages, moments, states. Unknown is a dash, never 0."""

import math
from collections.abc import Sequence

import msgspec

from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_moment

UNKNOWN = "–"
_GROUP = "\u202f"
"""A narrow space that does not break, between groups of three digits."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SIZES = ("B", "kB", "MB", "GB", "TB")


class State(msgspec.Struct, frozen=True):
    """How a state looks: its word and its tone, which fixes shape and colour.

    Tones: ``fine`` (quiet), ``live``, ``warn``, ``bad``, ``idle``.
    """

    word: str
    tone: str


_TONES = {
    "fine": (
        "ready",
        "finished",
        "done",
        "passed",
        "approved",
        "resolved",
        "serving",
        "healthy",
        "stable",
        "go",
        "settled",
        "promoted",
        "closed",
        "unaffected",
    ),
    "live": ("running", "training", "rolling_out", "pending", "queued", "canary", "shadow"),
    "warn": (
        "warning",
        "waiting",
        "waiting_approval",
        "open",
        "acknowledged",
        "paused",
        "undecided",
        "invalid",
        "watch",
        "refused",
        "withdrawn",
        "missing",
    ),
    "bad": ("critical", "failed", "quarantined", "aborted", "rejected", "killed", "abort", "drift", "lost"),
}
_TONE_OF = {word: tone for tone, words in _TONES.items() for word in words}
_WORDS = {
    "waiting_approval": "waits for approval",
    "rolling_out": "rolls out",
    "go": "holds",
    "abort": "harm",
    "done": "done",
}


def state(name: str | None, word: str = "") -> State:
    """Return the look of a state; an unknown one is idle and keeps its own word.

    >>> state("failed")
    State(word='failed', tone='bad')
    """
    if not name:
        return State(word or UNKNOWN, "idle")
    return State(word or _WORDS.get(name, name.replace("_", " ")), _TONE_OF.get(name, "idle"))


def cell_number(value: float) -> str:
    """Return a number in three characters or so, for a cell of a heat map.

    >>> cell_number(0.214), cell_number(1.58), cell_number(12.3)
    ('.21', '1.6', '12')
    """
    text = f"{value:.{2 if value < 1 else 1 if value < 10 else 0}f}"
    return text.removeprefix("0")


def number(value: float | None, digits: int | None = None) -> str:
    r"""Return a number with grouped thousands; without ``digits``, four that matter.

    >>> number(1234567), number(0.73219), number(None)
    ('1\u202f234\u202f567', '0.7322', '–')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, int) or (digits is None and float(value).is_integer() and abs(value) < 1e15):
        text = f"{int(value):,}"
    elif digits is not None:
        text = f"{value:,.{digits}f}"
    elif abs(value) >= 1e-3:
        text = f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))) if abs(value) >= 1 else 4)}f}"
    else:
        text = f"{value:.3g}"
    return text.replace(",", _GROUP).replace("-", "−")


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign.

    >>> signed(0.0123), signed(-0.5, 1)
    ('+0.0123', '−0.5')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    return ("+" if value > 0 else "") + number(float(value), digits)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an interval, or a dash if either end is unknown."""
    if low is None or high is None:
        return UNKNOWN
    return f"{number(float(low), digits)} … {number(float(high), digits)}"


def percent(ratio: float | None, digits: int = 0) -> str:
    r"""Return a ratio of 0..1 in percent.

    >>> percent(0.253, 1), percent(None)
    ('25.3\u202f%', '–')
    """
    return UNKNOWN if ratio is None else f"{number(float(ratio) * 100, digits)}{_GROUP}%"


def size(size_bytes: int | None) -> str:
    r"""Return a size in bytes, kB, MB, GB or TB.

    >>> size(2_500_000)
    '2.5\u202fMB'
    """
    if size_bytes is None:
        return UNKNOWN
    step = min(len(_SIZES) - 1, int(math.log10(max(1, size_bytes)) // 3))
    return f"{size_bytes / 1000**step:.{1 if step else 0}f}{_GROUP}{_SIZES[step]}"


def span(duration_us: int | None) -> str:
    """Return a duration in the largest unit that fits, with one smaller one where it says something.

    >>> span(374_000_000), span(90_000), span(36 * 3_600_000_000), span(0)
    ('6 min 14 s', '90 ms', '36 h', 'no time')
    """
    if duration_us is None:
        return UNKNOWN
    if duration_us == 0:  # of a replayed clock, which stands still while things happen
        return "no time"
    if duration_us < SECOND_US:
        return f"{duration_us // 1000} ms" if duration_us >= 1000 else f"{duration_us} µs"
    seconds = duration_us // SECOND_US
    if seconds < 600:
        minutes, rest = divmod(seconds, 60)
        return f"{seconds} s" if not minutes else f"{minutes} min" + (f" {rest} s" if rest else "")
    for unit_us, name in ((2 * DAY_US, "d"), (HOUR_US, "h"), (MINUTE_US, "min")):
        if duration_us >= unit_us:
            return f"{duration_us // (DAY_US if name == 'd' else unit_us)} {name}"
    return UNKNOWN


def age(at_us: int | None, now_us: int) -> str:
    """Return how long ago a moment was, seen from ``now_us``; one that is still to come reads ``in 3 h``.

    In one unit, for it stands in narrow columns.

    >>> age(0, 94_000_000), age(374_000_000, 0), age(0, 36 * 3_600_000_000)
    ('1 min', 'in 6 min', '36 h')
    """
    if at_us is None:
        return UNKNOWN
    away_us = abs(now_us - at_us)
    if away_us < MINUTE_US:
        return "now"
    told = span(away_us - away_us % MINUTE_US)
    return f"in {told}" if at_us > now_us else told


def moment(at_us: int | None) -> str:
    """Return a moment to the minute, UTC.

    >>> moment(0)
    '1970-01-01 00:00'
    """
    return UNKNOWN if at_us is None else format_moment(at_us)[:16].replace("T", " ")


def iso(at_us: int) -> str:
    """Return a moment as machines read it."""
    return format_moment(at_us)


def day(at_us: int) -> str:
    """Return day and month.

    >>> day(0)
    '1 Jan'
    """
    text = format_moment(at_us)
    return f"{int(text[8:10])} {_MONTHS[int(text[5:7]) - 1]}"


def window_head(start_at: int, every_us: int) -> str:
    """Return what heads a window of a length: its day, or where days have several its hour and minute.

    >>> window_head(0, DAY_US), window_head(3_660_000_000, 60_000_000)
    ('1 Jan', '01:01')
    """
    return day(start_at) if every_us >= DAY_US else format_moment(start_at)[11:16]


def month(at_us: int) -> str:
    """Return the month's short name."""
    return _MONTHS[int(format_moment(at_us)[5:7]) - 1]


def month_of_year(at_us: int) -> str:
    """Return month and year: the same month of two years is two.

    >>> month_of_year(0)
    'Jan 1970'
    """
    return f"{month(at_us)} {format_moment(at_us)[:4]}"


def metric_value(metric: str, value: float | None) -> str:
    """Return a metric's value with its unit, as its name says."""
    if value is None:
        return UNKNOWN
    if _is_share(metric):
        return percent(value, 2)
    if "latency" in metric or metric.endswith("_ms"):
        return f"{number(value, 2)}{_GROUP}ms"
    return number(float(value), 4)


def _is_share(metric: str) -> bool:
    """Say whether a metric is a share; the guard on latency measures that of slow answers."""
    return metric.endswith(("_rate", "_share")) or metric == "latency_p99"


def metric_difference(metric: str, value: float | None) -> str:
    r"""Return the difference of two values of a metric: of shares in points of percent.

    >>> metric_difference("error_rate", 0.0012), metric_difference("roc_auc", -0.01)
    ('+0.12\u202fpp', '−0.0100')
    """
    if value is None:
        return UNKNOWN
    if _is_share(metric):
        return f"{signed(value * 100, 2)}{_GROUP}pp"
    if "latency" in metric or metric.endswith("_ms"):
        return f"{signed(value, 2)}{_GROUP}ms"
    return signed(value)


def difference_interval(metric: str, low: float | None, high: float | None) -> str:
    """Return the interval of a difference, in the unit of the difference."""
    if low is None or high is None:
        return UNKNOWN
    return f"{metric_difference(metric, low).partition(_GROUP)[0]} … {metric_difference(metric, high)}"


def plain(value: float) -> str:
    """Return a number as it was given, without noise of its binary form.

    >>> plain(0.1 + 0.2), plain(31)
    ('0.3', '31')
    """
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def metric_name(metric: str) -> str:
    """Return a metric's name as people say it.

    >>> metric_name("roc_auc"), metric_name("latency_p99_ms")
    ('ROC AUC', 'latency p99')
    """
    if metric == "latency_p99":
        return "slow answers"
    text = metric.replace("_", " ").removesuffix(" ms")
    for short in ("roc auc", "rmse", "mae"):
        text = text.replace(short, short.upper())
    return text


def plural(count: int, noun: str, many: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "row"), plural(3, "query", "queries")
    ('1 row', '3 queries')
    """
    return f"{number(count)} {noun if count == 1 else many or noun + 's'}"


def joined(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def short(digest: str | None, letters: int = 10) -> str:
    """Return the first letters of a digest."""
    return digest[:letters] if digest else UNKNOWN
