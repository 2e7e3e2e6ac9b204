"""Reading deployments."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.errors import Conflict, NotFound, PermissionDenied
from loopwright.serving import Rollout

Call = Callable[..., Any]


def test_an_unknown_deployment_says_what_to_do(call: Call) -> None:
    with pytest.raises(NotFound, match="apply"):
        call("serving.get", deployment="gone")
    with pytest.raises(NotFound, match="apply"):
        call("serving.start_rollout", deployment="gone", version=1, reason="x")


def test_a_name_that_is_nearly_right_is_suggested(declare: Call, call: Call) -> None:
    declare()
    with pytest.raises(NotFound, match="no deployment is named lat;") as refused:
        call("serving.get", deployment="lat")
    assert refused.value.next_step == "did you mean late?"


def test_status_has_live_variants_and_rollout(candidate: Rollout, call: Call) -> None:
    status = call("serving.status", deployment="late")
    assert status.champion == 1
    assert [variant.name for variant in status.release.variants] == ["champion", "candidate"]
    assert status.rollout == candidate


def test_status_before_the_first_release(declare: Call, call: Call) -> None:
    declare()
    status = call("serving.status", deployment="late")
    assert (status.champion, status.release, status.rollout) == (None, None, None)
    assert [found.name for found in call("serving.list")] == ["late"]
    assert call("serving.list", model="other") == []


def test_external_deployments_have_no_releases(declare: Call, call: Call, dispatcher: Dispatcher, worker: Any) -> None:
    declare(is_external=True, rollout=[])
    assert [found.name for found in worker.call("serving.external_deployments", {}, SYSTEM)] == ["late"]
    with pytest.raises(Conflict, match="served elsewhere"):
        call("serving.start_rollout", deployment="late", version=1, reason="x")
    with pytest.raises(PermissionDenied):
        dispatcher.call("serving.external_deployments", {}, actor=LOCAL_ACTOR, project="flights")
