"""What both halves of the seed agree on: names, moments, inputs."""

from loopwright.kernel.clock import DAY_US, HOUR_US, parse_moment
from loopwright.kernel.ids import new_id
from loopwright.registry.types import InputColumn
from loopwright.serving.types import CanaryStep, ShadowStep

PROJECT = "flights"
START = parse_moment("2013-03-01T00:00:00Z")
NOW = parse_moment("2013-10-08T06:00:00Z")
WINDOWS = (NOW - START) // DAY_US
NASTY = "<script>alert('x')</script><img src=x onerror=alert(1)>"
"""Text from outside that must never become markup."""

FEATURES = [
    *("carrier", "origin", "dest", "distance", "hour", "weekday", "temp", "precip", "visib", "wind_speed"),
    *(
        f"{entity}_{name}_{over}"
        for entity in ("carrier", "origin")
        for name in ("late_share", "landed")
        for over in ("3h", "24h")
    ),
]
INPUTS = [
    InputColumn(name, "category", ["a", "b"]) if name in ("carrier", "origin", "dest") else InputColumn(name, "number")
    for name in FEATURES
]
STEPS = [
    ShadowStep(7 * DAY_US, "roc_auc", 0.01),
    CanaryStep(0.05, 6 * HOUR_US, ["error_rate"]),
    CanaryStep(0.25, 6 * HOUR_US, ["error_rate"]),
]
PREDICTION = new_id("pred", NOW - HOUR_US)
