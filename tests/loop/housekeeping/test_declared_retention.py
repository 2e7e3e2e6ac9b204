"""How long rows are kept, said in the project file: planned, applied by an admin, seen beside what a verb said."""

import msgspec
import pytest

from loopwright.governance import Actor
from loopwright.kernel.clock import DAY_US, MINUTE_US
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.store.types import Retention
from tests.loop.conftest import PROJECT, Loop

KEPT = [Retention("predictions", "", 180 * DAY_US), Retention("predictions", "late", None)]


def changes_of(loop: Loop, *declared: Retention) -> dict[str, tuple[str, list[str]]]:
    spec = msgspec.structs.replace(PROJECT, retentions=list(declared))
    changes = loop("loop.plan", spec=spec).changes
    return {each.ref: (each.change, each.details) for each in changes if "/retention:" in each.ref}


def test_the_plan_shows_it_and_apply_makes_it_so(loop: Loop) -> None:
    planned = changes_of(loop, *KEPT)
    assert planned["flights/retention:predictions"] == ("new", ["keeps predictions 180d, removes what is older"])
    assert planned["flights/retention:predictions.late"][0] == "new"
    loop.apply(retentions=KEPT)
    assert loop("retention.list") == KEPT
    assert {change for change, _ in changes_of(loop, *KEPT).values()} == {"unaffected"}
    told = loop("audit.list", type_prefix="retention.set")
    assert {event.reason for event in told} == {"the project file says so"}
    loop.apply(retentions=KEPT)
    assert len(loop("audit.list", type_prefix="retention.set")) == 2


def test_what_a_verb_said_since_is_a_change_again(loop: Loop) -> None:
    loop.apply(retentions=KEPT)
    loop("retention.set", kind="predictions", keep="30d")
    assert changes_of(loop, *KEPT)["flights/retention:predictions"] == ("changed", ["keep: 30d -> 180d"])
    loop.apply(retentions=KEPT)
    assert loop("retention.list") == KEPT
    [(change, details)] = changes_of(loop).values()
    assert change == "undeclared"
    assert "loopwright call retention.set kind=predictions keep=forever" in details[0]


def test_only_an_admin_applies_a_change_of_it(loop: Loop) -> None:
    editor = Actor("person:ed", {"flights": Role.EDITOR})

    def apply(*declared: Retention) -> None:
        spec = to_builtins(msgspec.structs.replace(PROJECT, trains=[], retrains=[], retentions=list(declared)))
        loop.dispatcher.call("loop.apply", {"spec": spec}, actor=editor, project="flights")

    loop.apply(trains=[], retrains=[])  # what an editor may not leave out
    with pytest.raises(PermissionDenied, match="change how long rows are kept"):
        apply(*KEPT)
    loop.apply(trains=[], retrains=[], retentions=KEPT)
    apply(*KEPT)
    apply(KEPT[0])


def test_what_cannot_be_kept_so_is_refused(loop: Loop) -> None:
    for declared, message in (
        ([Retention("rows", "", DAY_US)], "no rows of this kind"),
        ([Retention("labels", "", MINUTE_US)], "a day at least"),
        ([KEPT[0], KEPT[0]], "declared twice"),
    ):
        with pytest.raises(InvalidInput, match=message):
            loop.apply(retentions=declared)
