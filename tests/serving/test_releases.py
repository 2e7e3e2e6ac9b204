"""Releases: what a gateway gets, in which order, and what it can catch up on."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import SYSTEM
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.serving import Rollout

Call = Callable[..., Any]


def test_a_release_holds_all_a_gateway_needs(candidate: Rollout, call: Call, events: Call) -> None:
    release = call("serving.get_release", deployment="late")
    assert (release.number, release.position, release.clock) == (2, 2, "wall")
    champion, shadow = release.variants
    assert (champion.version, champion.weight, champion.is_shadow) == (1, 1.0, False)
    assert (shadow.version, shadow.weight, shadow.is_shadow) == (2, 0.0, True)
    assert shadow.files[0].path == "model.json"
    assert shadow.signature.task == "binary"
    assert release.rollout_id == candidate.rollout_id
    assert release.limits["rows"] > 0
    edges = call("lineage.upstream", ref="flights/release:late/2")
    assert {edge.parent for edge in edges if edge.relation == "serves"} == {
        "flights/model:late/1",
        "flights/model:late/2",
    }


def test_a_gateway_catches_up_in_one_call(candidate: Rollout, worker: Any, declare: Call, service: Call) -> None:
    service("serving.abort", rollout_id=candidate.rollout_id, reason="enough")
    declare(name="other", rollout=[])
    service("serving.start_rollout", deployment="other", version=1, reason="the first")

    def after(position: int) -> list[tuple[str, int, int]]:
        found = worker.call("serving.releases_after", {"position": position}, SYSTEM)
        return [(release.deployment, release.number, release.position) for release in found]

    assert after(0) == [("late", 3, 3), ("other", 1, 4)]
    assert after(2) == [("late", 3, 3), ("other", 1, 4)]
    assert after(3) == [("other", 1, 4)]
    assert after(4) == []


def test_followed_aliases_run_as_shadows_and_move_by_refresh(
    declare: Call, register: Call, call: Call, service: Call
) -> None:
    declare(follow=["frozen", "calendar"])
    register("one")
    register("two")
    call("registry.set_alias", model="late", alias="frozen", version=1)
    call("serving.start_rollout", deployment="late", version=1, reason="the first")
    names = [(v.name, v.version, v.is_shadow) for v in call("serving.get_release", deployment="late").variants]
    assert names == [("champion", 1, False), ("frozen", 1, True)]
    same = service("serving.refresh", deployment="late", reason="nothing moved")
    assert same.number == 1
    call("registry.set_alias", model="late", alias="calendar", version=2)
    moved = service("serving.refresh", deployment="late", reason="calendar moved to 2")
    assert (moved.number, moved.reason) == (2, "calendar moved to 2")
    assert [v.name for v in moved.variants] == ["champion", "frozen", "calendar"]


def test_a_refresh_keeps_the_candidate_where_it_is(
    candidate: Rollout, declare: Call, call: Call, service: Call
) -> None:
    declare(follow=["frozen"])
    call("registry.set_alias", model="late", alias="frozen", version=1)
    made = service("serving.refresh", deployment="late", reason="frozen is set")
    assert [(v.name, v.is_shadow) for v in made.variants] == [
        ("champion", False),
        ("candidate", True),
        ("frozen", True),
    ]
    assert made.rollout_id == candidate.rollout_id


def test_nothing_to_refresh_before_the_first_release(declare: Call, service: Call) -> None:
    declare()
    assert service("serving.refresh", deployment="late", reason="x") is None


def test_the_platform_releases_at_once_but_not_past_a_rollout(serving_one: int, call: Call, service: Call) -> None:
    made = service("serving.release", deployment="late", champion=2, candidate=1, weight=0.5, reason="half and half")
    assert [variant.weight for variant in made.variants] == [0.5, 0.5]
    with pytest.raises(InvalidInput, match="weight"):
        service("serving.release", deployment="late", champion=2, candidate=1, weight=1.5, reason="x")
    with pytest.raises(NotFound):
        service("serving.release", deployment="late", champion=9, reason="x")
    started = call("serving.start_rollout", deployment="late", version=1, reason="back by the steps")
    with pytest.raises(Conflict, match=started.rollout_id):
        service("serving.release", deployment="late", champion=1, reason="x")


def test_a_version_of_another_task_is_refused(declare: Call, register: Call, call: Call) -> None:
    declare()
    register("one", task="regression")
    with pytest.raises(InvalidInput, match="serves binary"):
        call("serving.start_rollout", deployment="late", version=1, reason="x")


def test_old_releases_stay_readable(candidate: Rollout, call: Call) -> None:
    assert [release.number for release in call("serving.releases", deployment="late")] == [2, 1]
    assert len(call("serving.get_release", deployment="late", number=1).variants) == 1
    with pytest.raises(NotFound):
        call("serving.get_release", deployment="late", number=3)


def test_a_retired_endpoint_serves_nothing_until_somebody_deploys_again(
    declare: Call, register: Call, call: Call, service: Call, worker: Any
) -> None:
    declare(rollout=[])
    register("one")
    register("two")
    with pytest.raises(Conflict, match="serves nothing"):
        call("serving.retire", deployment="late", reason="never used")
    service("serving.start_rollout", deployment="late", version=1, reason="the first")
    with pytest.raises(InvalidInput, match="needs a reason"):
        call("serving.retire", deployment="late", reason=" ")
    retired = call("serving.retire", deployment="late", reason="the desk is closed")
    assert (retired.number, retired.is_retired) == (2, True)
    status = call("serving.status", deployment="late")
    assert (status.release, status.champion, status.retired.reason) == (None, None, "the desk is closed")
    with pytest.raises(NotFound):
        call("serving.get_release", deployment="late")
    [told] = worker.call("serving.releases_after", {"position": retired.position - 1}, SYSTEM)
    assert told.is_retired
    assert service("serving.refresh", deployment="late", reason="an alias moved") is None
    with pytest.raises(Conflict, match="serves nothing"):
        call("serving.retire", deployment="late", reason="again")
    service("serving.start_rollout", deployment="late", version=2, reason="it is open again")
    release = call("serving.get_release", deployment="late")
    assert (release.number, release.is_retired, release.variants[0].version) == (3, False, 2)
    assert call("serving.status", deployment="late").retired is None


def test_a_live_rollout_is_ended_before_its_endpoint_is(candidate: Rollout, call: Call) -> None:
    with pytest.raises(Conflict, match="is running on late"):
        call("serving.retire", deployment="late", reason="the desk is closed")
    call("serving.abort", rollout_id=candidate.rollout_id, reason="the desk is closed")
    assert call("serving.retire", deployment="late", reason="the desk is closed").is_retired
