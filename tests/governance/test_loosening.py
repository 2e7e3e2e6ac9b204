"""Who may take a rule away: an approver, or whoever has an approval of exactly that, once."""

from typing import Any

import pytest

from loopwright.governance import Actor, Dispatcher, Loosening, Weaker, approvals, loosening
from loopwright.kernel.errors import InvalidInput, PermissionDenied
from loopwright.kernel.verbs import Role

EDITOR = Actor("person:ed", {"flights": Role.EDITOR})
APPROVER = Actor("person:ap", {"flights": Role.APPROVER})
GONE = Weaker("above", "above: 0.2 -> 9.0")


def change(*weaker: Weaker, before: float = 0.2, declared_at: int | None = 1) -> Loosening:
    digest = loosening.change_digest(before, declared_at, 9.0)
    return Loosening("flights/monitor:late", "the monitor of late", list(weaker), digest, "monitoring.ask_to_loosen")


def do(dispatcher: Dispatcher, actor: Actor, work: Any, **args: Any) -> Any:
    return dispatcher.write("flights", actor, lambda tx: work(tx, **args))


def test_a_refusal_says_what_by_which_rule_and_what_to_do(dispatcher: Dispatcher) -> None:
    with pytest.raises(PermissionDenied) as refused:
        do(dispatcher, EDITOR, loosening.require_allowed, loosening=change(GONE))
    told = refused.value
    assert told.message == "this declaration loosens the rules of the monitor of late: above: 0.2 -> 9.0"
    assert (told.field, told.value) == ("above", "person:ed")
    assert "monitoring.ask_to_loosen" in str(told.next_step)
    do(dispatcher, EDITOR, loosening.require_allowed, loosening=change())
    do(dispatcher, APPROVER, loosening.require_allowed, loosening=change(GONE))


def test_an_approval_is_of_one_change_of_what_was_declared_then(dispatcher: Dispatcher) -> None:
    asked = do(dispatcher, EDITOR, loosening.ask, loosening=change(GONE), reason="it cries wolf")
    assert asked.question == "Loosen the rules of the monitor of late: above: 0.2 -> 9.0? it cries wolf"
    with pytest.raises(InvalidInput, match="nobody approves what they asked for"):
        do(dispatcher, Actor("person:ed", {"flights": Role.APPROVER}), approvals.approve, approval_id=asked.approval_id)
    do(dispatcher, APPROVER, approvals.approve, approval_id=asked.approval_id)
    do(dispatcher, EDITOR, loosening.require_allowed, loosening=change(GONE))
    for other in (change(GONE, before=0.3), change(GONE, declared_at=2), change(GONE, declared_at=None)):
        with pytest.raises(PermissionDenied):
            do(dispatcher, EDITOR, loosening.require_allowed, loosening=other)


@pytest.mark.parametrize(("weaker", "reason", "told"), [((), "x", "loosens nothing"), ((GONE,), " ", "needs a reason")])
def test_what_needs_no_asking_is_not_asked(
    dispatcher: Dispatcher, weaker: tuple[Weaker, ...], reason: str, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        do(dispatcher, EDITOR, loosening.ask, loosening=change(*weaker), reason=reason)
