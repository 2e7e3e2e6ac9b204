"""What of a project file takes an approver: shown by the plan, refused by apply, let in with an approval."""

from typing import Any

import msgspec
import pytest

from loopwright.data import CheckSpec
from loopwright.governance import LOCAL_ACTOR, Actor
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.loop.types import ProjectSpec
from loopwright.registry import GateSpec
from loopwright.store.types import BlobRef
from tests.loop.conftest import CODE, LATE, POLICY, PROJECT, Loop

EDITOR = Actor("person:ed", {"flights": Role.EDITOR})
APPROVER = Actor("person:ap", {"flights": Role.APPROVER})
CHECKED = msgspec.structs.replace(PROJECT.datasets[0], checks=[CheckSpec("not_null", "carrier")])
GATED = msgspec.structs.replace(LATE, gates=[GateSpec("at_least", {"metric": "roc_auc", "value": 0.65})])
STRICT = msgspec.structs.replace(PROJECT, datasets=[CHECKED], deployments=[GATED])
DEAF = msgspec.structs.replace(PROJECT.monitors["late"], above=1000.0)
EAGER = msgspec.structs.replace(POLICY, most=100)

LOOSER: list[tuple[str, ProjectSpec, str, str]] = [
    (
        "dataset:flights",
        msgspec.structs.replace(STRICT, datasets=PROJECT.datasets),
        "checks",
        "checks: not_null(carrier) -> nothing",
    ),
    (
        "deployment:late",
        msgspec.structs.replace(STRICT, deployments=[LATE]),
        "spec",
        "the gate at_least(metric=roc_auc, value=0.65) is gone or weaker",
    ),
    ("monitor:late", msgspec.structs.replace(STRICT, monitors={"late": DEAF}), "above", "above: 0.2 -> 1000.0"),
    (
        "retrain_policy:late",
        msgspec.structs.replace(STRICT, retrains=[EAGER]),
        "budget",
        "budget: 1 in 30d -> 100 in 30d",
    ),
    (
        "retrain_policy:late",
        msgspec.structs.replace(STRICT, retrains=[]),
        "retrains",
        "the policy that trains fit is gone",
    ),
]


@pytest.fixture
def loop(loop: Loop) -> Loop:
    """With the code that the project names, as an editor has uploaded it."""
    loop.dispatcher.write("flights", LOCAL_ACTOR, lambda tx: tx.keep_blobs(BlobRef(CODE.digest, 1)))
    return loop


def call(loop: Loop, actor: Actor, verb: str, **args: Any) -> Any:
    loop.wall.at_us += 1
    plain = {name: to_builtins(value) for name, value in args.items()}
    return loop.dispatcher.call(verb, plain, actor=actor, project="flights")


def planned(loop: Loop, actor: Actor, spec: ProjectSpec) -> dict[str, list[str]]:
    found = call(loop, actor, "loop.plan", spec=spec).changes
    return {one.ref.split("/", 1)[1]: one.needs_approver for one in found if one.needs_approver}


@pytest.mark.parametrize(("ref", "looser", "field", "told"), LOOSER)
def test_what_loosens_a_rule_is_shown_refused_and_let_in_by_an_approver(
    loop: Loop, ref: str, looser: ProjectSpec, field: str, told: str
) -> None:
    call(loop, EDITOR, "loop.apply", spec=STRICT)  # tightening is free
    assert planned(loop, EDITOR, STRICT) == {}
    assert planned(loop, EDITOR, looser) == {ref: [told]}
    with pytest.raises(PermissionDenied, match="this declaration loosens the rules of") as refused:
        call(loop, EDITOR, "loop.apply", spec=looser)
    assert refused.value.field == field
    assert "ask_to_loosen" in str(refused.value.next_step)
    assert planned(loop, LOCAL_ACTOR, looser) == {}
    call(loop, APPROVER, "loop.apply", spec=looser)
    call(loop, EDITOR, "loop.apply", spec=STRICT)
    with pytest.raises(PermissionDenied):
        call(loop, EDITOR, "loop.apply", spec=looser)


def test_the_person_of_an_open_server_is_asked_nothing(loop: Loop) -> None:
    loop("loop.apply", spec=STRICT)
    for _, looser, _, _ in LOOSER:
        assert loop("loop.apply", spec=looser).project == "flights"
        assert loop("loop.spec") == looser
        assert loop("approvals.list") == []
        loop("loop.apply", spec=STRICT)


def test_each_approval_lets_its_own_change_in_once(loop: Loop) -> None:
    call(loop, EDITOR, "loop.apply", spec=STRICT)
    looser = msgspec.structs.replace(
        STRICT, datasets=PROJECT.datasets, monitors={"late": DEAF}, retrains=[EAGER], deployments=[LATE]
    )
    why, [answers] = {"reason": "it cries wolf"}, [loop("monitoring.get", deployment="late").policy]
    asked = [
        ("data.ask_to_loosen", {"spec": PROJECT.datasets[0]}),
        ("serving.ask_to_loosen", {"spec": LATE}),
        ("monitoring.ask_to_loosen", {"deployment": "late", "spec": DEAF, "policy": answers}),
        ("loop.ask_to_loosen", {"deployment": "late", "policy": EAGER}),
    ]
    for verb, args in asked:
        assert len(planned(loop, EDITOR, looser)) > 0
        with pytest.raises(PermissionDenied):
            call(loop, EDITOR, "loop.apply", spec=looser)
        approval = call(loop, EDITOR, verb, **args, **why)
        call(loop, APPROVER, "approvals.approve", approval_id=approval.approval_id)
    assert planned(loop, EDITOR, looser) == {}
    call(loop, EDITOR, "loop.apply", spec=looser)
    call(loop, EDITOR, "loop.apply", spec=STRICT)
    assert len(planned(loop, EDITOR, looser)) == len(asked), "an approval counts once"


def test_the_verbs_of_single_declarations_are_no_way_around(loop: Loop) -> None:
    call(loop, EDITOR, "loop.apply", spec=STRICT)
    with pytest.raises(PermissionDenied, match=r"checks: not_null\(carrier\) -> nothing"):
        call(loop, EDITOR, "data.declare", spec=PROJECT.datasets[0])
    heard = msgspec.structs.replace(PROJECT.monitors["late"], channels=["log"])
    policy = loop("monitoring.get", deployment="late").policy
    call(loop, EDITOR, "monitoring.declare", deployment="late", spec=heard, policy=policy)
    with pytest.raises(PermissionDenied, match="nobody is told by log"):
        call(loop, EDITOR, "monitoring.declare", deployment="late", spec=PROJECT.monitors["late"], policy=policy)
    silent = {"decay": [{"by": 1e9, "least_labels": 1}]}
    with pytest.raises(PermissionDenied, match=r"policy.decay: a policy answers it, no person is called"):
        call(loop, EDITOR, "monitoring.declare", deployment="late", spec=heard, policy=silent)
