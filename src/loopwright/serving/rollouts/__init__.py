"""Rollouts: how a version comes into traffic step by step, and what is judged on the way."""

from loopwright.kernel.plugins import add_built_in

add_built_in(
    "guards",
    {
        "error_rate": "loopwright.serving.rollouts.guards:ErrorRate",
        "latency_p99": "loopwright.serving.rollouts.guards:LatencyP99",
        "roc_auc": "loopwright.serving.rollouts.quality:RocAuc",
        "squared_error": "loopwright.serving.rollouts.quality:SquaredError",
    },
)
