"""Freezing a service: names, order, digests, and the label that must not be its own feature."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.features import Aggregate, AggregateViewSpec, ColumnViewSpec, bind_views, plan_inputs, view_key
from loopwright.kernel.errors import InvalidInput, NotFound

Call = Callable[..., Any]


def test_columns_are_requests_then_views_in_order(declared: Call) -> None:
    plan = declared("features.plan", digest=declared("features.freeze_plan", service="late"))
    assert plan.columns == [
        *("carrier", "hour", "temp", "sky"),
        *("carrier_late_share_3h", "carrier_late_share_1d", "carrier_landed_3h", "carrier_landed_1d"),
        "origin_minutes_2h",
    ]
    assert (plan.time, plan.key, plan.code_digest) == ("scheduled_at", ["flight_id"], "c" * 64)
    assert [dataset.name for dataset in plan.datasets] == ["flights", "weather"]
    assert plan_inputs(plan) == ["scheduled_at", "carrier", "origin"]


def test_the_same_meaning_is_the_same_digest_and_an_old_plan_stays(declared: Call, small: Any) -> None:
    first = declared("features.freeze_plan", service="late")
    assert declared("features.freeze_plan", service="late") == first
    declared("features.declare_service", spec=msgspec.structs.replace(small.service, views=["at_origin"]))
    second = declared("features.freeze_plan", service="late")
    assert second != first
    assert len(declared("features.plan", digest=first).views) == 3
    assert len(declared("features.plan", digest=second).views) == 1
    with pytest.raises(NotFound):
        declared("features.plan", digest="0" * 64)


def test_code_packed_again_is_the_same_plan(declared: Call) -> None:
    first = declared("features.freeze_plan", service="late")
    spec = declared("features.get", kind="request", name="asked").spec
    declared("features.declare_request", spec={**spec, "function": {**spec["function"], "digest": "d" * 64}})
    assert declared("features.freeze_plan", service="late") == first


def test_a_column_that_two_views_have_takes_the_views_name(declared: Call, small: Any) -> None:
    declared("features.declare_view", spec=ColumnViewSpec("at_carrier", "flights", "carrier", ["delay", "origin"]))
    declared("features.declare_view", spec=ColumnViewSpec("at_dest", "flights", "origin", ["delay"]))
    service = msgspec.structs.replace(small.service, views=["at_carrier", "at_dest"])
    declared("features.declare_service", spec=service)
    plan = declared("features.plan", digest=declared("features.freeze_plan", service="late"))
    assert plan.columns == ["carrier", "hour", "at_carrier_delay", "origin", "at_dest_delay"]


def test_two_features_of_one_name_are_refused(declared: Call, small: Any) -> None:
    again = AggregateViewSpec(
        "again", "flights", "carrier", [3_600_000_000 * 3], [Aggregate("landed", "count", "delay")]
    )
    declared("features.declare_view", spec=again)
    service = msgspec.structs.replace(small.service, views=["recent_carrier", "again"])
    declared("features.declare_service", spec=service)
    with pytest.raises(InvalidInput, match="two features are named carrier_landed_3h"):
        declared("features.freeze_plan", service="late")


def test_a_label_known_at_once_may_not_feed_its_own_row(declared: Call) -> None:
    declared("data.declare", spec={"name": "cases", "source": {"kind": "frame"}, "key": ["id"], "time": "at"})
    share = Aggregate("share", "mean", "paid")
    declared("features.declare_view", spec=AggregateViewSpec("leak", "cases", "region", [3_600_000_000], [share]))
    service = {"name": "s", "requests": [], "views": ["leak"], "task": "binary"}
    declared("features.declare_service", spec={**service, "label": {"dataset": "cases", "column": "paid"}})
    with pytest.raises(InvalidInput, match="its own label") as refused:
        declared("features.freeze_plan", service="s")
    assert refused.value.field == "known_at.paid"
    at_once = {"known_at": {"paid": {"column": "at"}}, "source": {"kind": "frame"}, "key": ["id"], "time": "at"}
    declared("data.declare", spec={"name": "cases", **at_once})
    with pytest.raises(InvalidInput, match="its own label"):
        declared("features.freeze_plan", service="s")


CASES = {
    "name": "cases",
    "source": {"kind": "frame"},
    "key": ["id"],
    "time": "at",
    "known_at": {
        "paid": {"column": "settled_at"},
        "region": {"column": "at"},
        "income": {"column": "at", "after_us": 5},
    },
}


def freeze_cases(
    declared: Call, small: Any, entity: str = "region", label: str = "paid", inputs: Any = (), **changes: Any
) -> str:
    """Freeze a service over cases with one view by ``entity`` and a function of ``inputs``."""
    declared("data.declare", spec={**CASES, **changes})
    declared("features.declare_view", spec=ColumnViewSpec("seen", "cases", entity, ["staff"]))
    request = msgspec.structs.replace(small.plan.requests[0], name="given", inputs=list(inputs) or ["id"])
    declared("features.declare_request", spec=request)
    service = {"name": "s", "requests": ["given"], "views": ["seen"], "task": "binary"}
    declared("features.declare_service", spec={**service, "label": {"dataset": "cases", "column": label}})
    return str(declared("features.freeze_plan", service="s"))


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (["amount", "paid"], "request given reads paid, which is the label"),
        (["income"], "request given reads income, which is known only 5us after at"),
        (["settled_at"], "request given reads settled_at, which is known only at settled_at"),
    ],
)
def test_a_function_may_not_read_what_is_known_later_than_its_row(
    inputs: list[str], told: str, declared: Call, small: Any
) -> None:
    with pytest.raises(InvalidInput, match=told) as refused:
        freeze_cases(declared, small, inputs=inputs)
    assert (refused.value.field, refused.value.value) == ("request.given", inputs[-1])


def test_an_entity_may_not_be_what_is_known_later_than_its_row(declared: Call, small: Any) -> None:
    with pytest.raises(InvalidInput, match="view seen reads paid, which is the label"):
        freeze_cases(declared, small, entity="paid")
    with pytest.raises(InvalidInput, match="view seen reads income, which is known only 5us after at") as refused:
        freeze_cases(declared, small, entity="income")
    assert refused.value.field == "view.seen"


def test_a_label_known_at_once_is_still_no_input(declared: Call, small: Any) -> None:
    with pytest.raises(InvalidInput, match="request given reads paid, which is the label"):
        freeze_cases(declared, small, inputs=["paid"], known_at={})


def test_when_all_is_known_late_a_row_may_still_be_asked_by_its_key_and_time(declared: Call, small: Any) -> None:
    late = {"*": {"column": "loaded_at"}, "region": {"column": "at"}}
    assert freeze_cases(declared, small, inputs=["id", "at", "region"], known_at=late)
    with pytest.raises(InvalidInput, match="request given reads amount, which is known only at loaded_at"):
        freeze_cases(declared, small, inputs=["amount"], known_at=late)


def test_a_views_rows_have_a_name_of_their_meaning(small: Any) -> None:
    bound = bind_views(small.plan, "flights")
    assert len({view.key for view in bound}) == 3
    assert bound[0].key.startswith("flights/at_origin@")
    spec, dataset = bound[0].view, bound[0].dataset
    assert view_key("flights", spec, dataset) == bound[0].key
    assert view_key("flights", msgspec.structs.replace(spec, ttl_us=None), dataset) != bound[0].key
    assert view_key("flights", spec, msgspec.structs.replace(dataset, known_at={})) != bound[0].key
