"""Gates: machine checks before a change, pure functions of Evidence. One file each; a plugin of kind ``gates``.

A gate is a function ``gate(evidence, **args) -> (verdict, sentence)``; the GateSpec holds its typed arguments.
"""

from loopwright.kernel.plugins import add_built_in
from loopwright.registry.gates.runs import Finding, check_specs, run_gates

add_built_in(
    "gates",
    {
        "at_least": "loopwright.registry.gates.at_least:at_least",
        "at_most": "loopwright.registry.gates.at_most:at_most",
        "beats_champion": "loopwright.registry.gates.beats_champion:beats_champion",
        "latency": "loopwright.registry.gates.latency:latency",
        "data_checks": "loopwright.registry.gates.data_checks:data_checks",
        "no_skew": "loopwright.registry.gates.no_skew:no_skew",
    },
)

__all__ = ["Finding", "check_specs", "run_gates"]
