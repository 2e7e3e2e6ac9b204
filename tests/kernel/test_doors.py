"""Front doors that import what stands behind them late."""

import pytest

from loopwright.kernel.doors import later


def test_a_name_that_its_module_would_hide_is_refused() -> None:
    """``from package import name`` imports the module on the way, which then is what the name stands for."""
    later("loopwright.gateway", {"salvage": ["salvage_spools"]})
    with pytest.raises(ValueError, match="salvage"):
        later("loopwright.gateway", {"salvage": ["Salvaged", "salvage"]})
