"""Models as a list."""

from collections.abc import Callable
from typing import Any

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US, FixedClock


def test_models_are_listed_with_their_aliases(call: Callable[..., Any]) -> None:
    files = [{"path": "constant.json", "digest": "a" * 64, "size_bytes": 9}]
    signature = {"inputs": [], "task": "binary"}
    for model in ("late", "early", "late"):
        call("registry.register", model=model, flavour="constant", files=files, signature=signature)
    call("registry.set_alias", model="late", alias="champion", version=2)
    found = {one.model: (one.versions, one.aliases) for one in call("registry.models")}
    assert found == {"early": (1, {}), "late": (2, {"champion": 2})}


def test_models_tell_in_both_times_when_the_newest_version_came(dispatcher: Dispatcher, wall: FixedClock) -> None:
    values = {"name": "replayed", "clock": "replay", "clock_at": wall.at_us - 99 * DAY_US}
    dispatcher.call("projects.create", values, actor=LOCAL_ACTOR, project=SYSTEM)
    files = [{"path": "constant.json", "digest": "a" * 64, "size_bytes": 9}]
    made = {"model": "late", "flavour": "constant", "files": files, "signature": {"inputs": [], "task": "binary"}}
    dispatcher.call("registry.register", made, actor=SERVICE_ACTOR, project="replayed")
    [model] = dispatcher.call("registry.models", {}, actor=LOCAL_ACTOR, project="replayed")
    assert (model.last_recorded_at, model.last_event_at) == (wall.at_us, wall.at_us - 99 * DAY_US)
