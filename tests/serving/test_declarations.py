"""Declaring deployments."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.governance import Actor, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.registry import GateSpec

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
        ({"task": "binery"}, r"spec\.task.*did you mean binary"),
        ({"gates": [GateSpec("at_least", {"metric": "roc_acu", "value": 0.6})]}, r"spec\.gates\[0\].metric"),
        ({"gates": [GateSpec("latency", {})]}, r"spec\.gates\[0\]"),
    ],
)
def test_a_senseless_declaration_names_its_field(
    declare: Call, call: Call, changes: dict[str, Any], field: str
) -> None:
    spec = declare().spec
    with pytest.raises(InvalidInput, match=field):
        declare(**changes)
    with pytest.raises(InvalidInput, match=field):
        call("serving.ask_to_loosen", spec=to_builtins(msgspec.structs.replace(spec, **changes)), reason="why not")


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


EDITOR = Actor("person:ed", {"flights": Role.EDITOR})
APPROVER = Actor("person:ap", {"flights": Role.APPROVER})


def test_what_loosens_a_rule_takes_an_approver_or_an_approval(declare: Call, dispatcher: Dispatcher) -> None:
    """An editor could else drop the gates, deploy, and put them back."""
    declare(gates=[GateSpec("at_least", {"metric": "roc_auc", "value": 0.65})])

    def call(verb: str, actor: Actor, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=actor, project="flights")

    strict = call("serving.get", EDITOR, deployment="late").spec
    loose = to_builtins(msgspec.structs.replace(strict, gates=[]))
    with pytest.raises(PermissionDenied, match="loosens the rules of late: the gate at_least"):
        call("serving.declare", EDITOR, spec=loose)
    assert call("serving.declare", EDITOR, spec=to_builtins(msgspec.structs.replace(strict, sticky="user")))
    call("serving.declare", EDITOR, spec=to_builtins(strict))
    asked = call("serving.ask_to_loosen", EDITOR, spec=loose, reason="no labels yet")
    assert "the gate at_least(metric=roc_auc, value=0.65) is gone or weaker? no labels yet" in asked.question
    with pytest.raises(PermissionDenied):
        call("serving.declare", EDITOR, spec=loose)
    call("approvals.approve", APPROVER, approval_id=asked.approval_id)
    looser = to_builtins(msgspec.structs.replace(strict, gates=[], rollout=[]))
    with pytest.raises(PermissionDenied, match="step 1 of the rollout"):
        call("serving.declare", EDITOR, spec=looser)
    assert call("serving.declare", EDITOR, spec=loose).spec.gates == []
    assert call("serving.declare", APPROVER, spec=looser).spec.rollout == []
    with pytest.raises(InvalidInput, match="loosens nothing"):
        call("serving.ask_to_loosen", EDITOR, spec=looser, reason="x")


def test_an_approval_loosens_once(declare: Call, dispatcher: Dispatcher, wall: FixedClock) -> None:
    """Whoever once had a good reason has no key to keep."""
    declare(gates=[GateSpec("data_checks")])

    def call(verb: str, actor: Actor, **args: Any) -> Any:
        wall.at_us += 1
        return dispatcher.call(verb, args, actor=actor, project="flights")

    strict = call("serving.get", EDITOR, deployment="late").spec
    loose = to_builtins(msgspec.structs.replace(strict, gates=[]))
    asked = call("serving.ask_to_loosen", EDITOR, spec=loose, reason="no labels yet")
    call("approvals.approve", APPROVER, approval_id=asked.approval_id)
    assert call("serving.declare", EDITOR, spec=loose).spec.gates == []
    call("serving.declare", APPROVER, spec=to_builtins(strict))
    with pytest.raises(PermissionDenied, match="loosens the rules"):
        call("serving.declare", EDITOR, spec=loose)
    assert call("serving.ask_to_loosen", EDITOR, spec=loose, reason="again").state == "waiting"


def test_a_further_deployment_of_a_model_is_no_way_around(declare: Call, dispatcher: Dispatcher) -> None:
    """What serves there moves the model's alias, which gates compare with."""
    declare(gates=[GateSpec("data_checks")])
    spec = {"name": "aside", "model": "late", "task": "binary", "approve": {"first": "policy", "retrain": "policy"}}
    with pytest.raises(PermissionDenied, match=r"data_checks\(\) is gone or weaker \(as late has it\)"):
        dispatcher.call("serving.declare", {"spec": spec}, actor=EDITOR, project="flights")
    strict = {**spec, "gates": [{"kind": "data_checks"}]}
    assert dispatcher.call("serving.declare", {"spec": strict}, actor=EDITOR, project="flights")
