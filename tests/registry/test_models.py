"""Models as a list."""

from collections.abc import Callable
from typing import Any


def test_models_are_listed_with_their_aliases(call: Callable[..., Any]) -> None:
    files = [{"path": "constant.json", "digest": "a" * 64, "size_bytes": 9}]
    signature = {"inputs": [], "task": "binary"}
    for model in ("late", "early", "late"):
        call("registry.register", model=model, flavour="constant", files=files, signature=signature)
    call("registry.set_alias", model="late", alias="champion", version=2)
    found = {one.model: (one.versions, one.aliases) for one in call("registry.models")}
    assert found == {"early": (1, {}), "late": (2, {"champion": 2})}
