"""Declaring deployments."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.kernel.errors import Conflict, InvalidInput

Call = Callable[..., Any]


def test_the_same_declaration_again_changes_nothing(declare: Call, call: Call, events: Call) -> None:
    first = declare()
    assert declare() == first
    assert events() == ["serving.declared"]
    assert call("serving.get", deployment="late") == first


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "../late"}, "spec.name"),
        ({"follow": ["champion"]}, "spec.follow"),
        ({"task": "regression"}, r"rollout\[0\].no_worse"),
    ],
)
def test_a_senseless_declaration_names_its_field(declare: Call, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        declare(**changes)


def test_a_deployment_keeps_its_model(declare: Call) -> None:
    declare()
    with pytest.raises(Conflict, match=r"spec\.model"):
        declare(model="other")


def test_what_gateways_must_know_is_released_at_once(serving_one: int, declare: Call, call: Call) -> None:
    declare(sticky="user_id", personal=["name"])
    release = call("serving.get_release", deployment="late")
    assert (release.number, release.sticky, release.personal) == (2, "user_id", ["name"])
    declare(sticky="user_id", personal=["name"], rollout=[])
    assert call("serving.get_release", deployment="late").number == 2
