"""Calls as a person; what the platform alone registers, as the platform."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Dispatcher


@pytest.fixture
def call(dispatcher: Dispatcher) -> Callable[..., Any]:
    """Call a verb by name in the project ``flights``."""

    def by_name(verb: str, /, **args: Any) -> Any:
        actor = SERVICE_ACTOR if verb == "registry.register" else LOCAL_ACTOR
        return dispatcher.call(verb, args, actor=actor, project="flights")

    return by_name
