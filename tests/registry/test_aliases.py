"""Aliases move at once, on record, and champion only by an approver's hand."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def two_versions(call: Call) -> None:
    for digest in ("a", "b"):
        call(
            "registry.register",
            model="late",
            flavour="constant",
            files=[{"path": "constant.json", "digest": digest * 64, "size_bytes": 9}],
            signature={"inputs": [], "task": "binary"},
        )


def test_an_alias_moves_with_a_reason(call: Call) -> None:
    call("registry.set_alias", model="late", alias="frozen", version=1)
    call("registry.set_alias", model="late", alias="frozen", version=2, reason="better")
    assert call("registry.get_version", model="late", alias="frozen").version == 2
    events = call("audit.list", type_prefix="registry.alias")
    assert (events[0].reason, events[0].payload["before"], events[0].payload["version"]) == ("better", 1, 2)
    call("registry.set_alias", model="late", alias="frozen", version=2)
    assert len(call("audit.list", type_prefix="registry.alias")) == 2
    assert call("registry.models")[0].aliases == {"frozen": 2}
    call("registry.remove_alias", model="late", alias="frozen", reason="done")
    assert call("registry.aliases", model="late") == []
    with pytest.raises(NotFound):
        call("registry.remove_alias", model="late", alias="frozen")


def test_an_alias_names_what_exists(call: Call) -> None:
    with pytest.raises(NotFound):
        call("registry.set_alias", model="late", alias="frozen", version=3)
    with pytest.raises(InvalidInput):
        call("registry.set_alias", model="late", alias="a/b", version=1)


def test_only_approvers_and_the_platform_move_champion(dispatcher: Dispatcher) -> None:
    args = {"model": "late", "alias": "champion", "version": 1}
    editor = Actor("person:ed", {"flights": Role.EDITOR})
    approver = Actor("person:ap", {"flights": Role.APPROVER})
    with pytest.raises(PermissionDenied, match="at least approver"):
        dispatcher.call("registry.set_alias", args, actor=editor, project="flights")
    dispatcher.call("registry.set_alias", {**args, "alias": "frozen"}, actor=editor, project="flights")
    for actor in (approver, SERVICE_ACTOR):
        dispatcher.call("registry.set_alias", args, actor=actor, project="flights")
    del args["version"]
    with pytest.raises(PermissionDenied):
        dispatcher.call("registry.remove_alias", args, actor=editor, project="flights")
