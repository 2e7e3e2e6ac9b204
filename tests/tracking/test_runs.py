"""Runs: what is logged comes back, what is fixed stays, and searches find it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, TooLarge
from loopwright.store.tx import Tx
from loopwright.tracking import LoggedMetric, Run, log, log_batch, search_runs, start_run

Call = Callable[..., Any]


def test_a_run_comes_back_as_it_was_logged(call: Call, wall: FixedClock) -> None:
    run = call(
        "tracking.start_run",
        experiment="late",
        name="first",
        params={"rate": 0.05, "depth": 7, "deep": {"a": [1]}, "kind": "gbdt"},
        tags={"team": "ops"},
        inputs=["training_set:late/3"],
        source={"commit": "abc", "is_dirty": True},
    )
    call("tracking.log", run_id=run.run_id, metrics={"auc": 0.7, "loss": 1}, step=1)
    call("tracking.log", run_id=run.run_id, metrics={"auc": 0.8}, step=3)
    call("tracking.log", run_id=run.run_id, metrics={"auc": 0.1}, step=2)
    call("tracking.log_artifact", run_id=run.run_id, path="plots/roc.png", digest="a" * 64, size_bytes=10)
    wall.at_us += 5
    ended = call("tracking.finish_run", run_id=run.run_id)
    assert ended == call("tracking.get_run", run_id=run.run_id) == call("tracking.finish_run", run_id=run.run_id)
    assert ended.params == run.params
    assert ended.metrics == {"auc": 0.8, "loss": 1.0}
    assert (ended.state, ended.finished_at, ended.source.commit) == ("finished", wall.at_us, "abc")
    assert ended.artifacts[0].path == "plots/roc.png"
    assert [point.value for point in call("tracking.metric_history", run_id=run.run_id, key="auc")] == [0.7, 0.1, 0.8]
    edges = call("lineage.upstream", ref=f"flights/run:{run.run_id}")
    assert [edge.parent for edge in edges] == ["flights/training_set:late/3"]
    assert call("audit.list", type_prefix="tracking.", limit=1)[0].type == "tracking.run_finished"


def test_nan_and_infinities_are_kept_and_survive_json(call: Call) -> None:
    run = call("tracking.start_run", experiment="late")
    sent = {"a": math.nan, "b": math.inf, "c": "-inf", "d": None, "e": 1.0}
    call("tracking.log", run_id=run.run_id, metrics=sent)
    found = call("tracking.get_run", run_id=run.run_id)
    assert found.non_finite == {"a": "nan", "b": "inf", "c": "-inf", "d": "nan"}
    assert found.metrics == {"e": 1.0}
    assert from_json(to_json(found), Run) == found
    point = call("tracking.metric_history", run_id=run.run_id, key="b")[0]
    assert (point.value, point.non_finite) == (None, "inf")


def test_params_keep_their_first_value(call: Call) -> None:
    run = call("tracking.start_run", experiment="late", params={"rate": 0.05, "depth": None})
    call("tracking.log_batch", run_id=run.run_id, params={"rate": 0.05, "more": [1], "depth": None, "seed": None})
    with pytest.raises(Conflict, match="param depth is None"):
        call("tracking.log_batch", run_id=run.run_id, params={"depth": 3})
    with pytest.raises(Conflict, match=r"param rate is 0\.05"):
        call("tracking.log_batch", run_id=run.run_id, params={"rate": 0.06})
    params = {"rate": 0.05, "more": [1], "depth": None, "seed": None}
    assert call("tracking.get_run", run_id=run.run_id).params == params
    for text in ('params.depth = "null"', "params.depth > 1"):
        assert len(call("tracking.search_runs", filter=text)) == (text.endswith('"null"'))
    events = call("audit.list", type_prefix="tracking.params")  # what was refused, or known already, is none
    assert [(event.ref, event.payload) for event in events] == [
        (f"flights/run:{run.run_id}", {"names": ["more", "seed"]})
    ]
    call("tracking.log_batch", run_id=run.run_id, params=params)
    assert call("audit.list", type_prefix="tracking.params") == events


def test_an_ended_run_takes_tags_but_no_metrics(call: Call) -> None:
    run = call("tracking.start_run", experiment="late")
    call("tracking.finish_run", run_id=run.run_id, state="failed", reason="no rows")
    with pytest.raises(Conflict, match="this run is failed"):
        call("tracking.log", run_id=run.run_id, metrics={"a": 1})
    with pytest.raises(Conflict, match="cannot become finished"):
        call("tracking.finish_run", run_id=run.run_id)
    assert call("tracking.set_tags", run_id=run.run_id, tags={"why": "x"}).tags == {"why": "x"}


def test_limits_and_odd_names_are_refused(call: Call) -> None:
    run = call("tracking.start_run", experiment="late")
    with pytest.raises(TooLarge, match="at most 1000"):
        call("tracking.log_batch", run_id=run.run_id, metrics=[{"key": "a", "value": 1}] * 1001)
    with pytest.raises(InvalidInput, match="name cannot be used"):
        call("tracking.log", run_id=run.run_id, metrics={"": 1})
    with pytest.raises(InvalidInput, match="experiment"):
        call("tracking.start_run", experiment="../x")
    for path in ("", "/etc/passwd", "a/../b", "a\\b", "./a"):
        with pytest.raises(InvalidInput, match="path cannot be used"):
            call("tracking.log_artifact", run_id=run.run_id, path=path, digest="a" * 64, size_bytes=1)
    with pytest.raises(NotFound, match="no such run"):
        call("tracking.log", run_id="run_x", metrics={"a": 1})


def test_a_thousand_points_in_one_call(call: Call) -> None:
    run = call("tracking.start_run", experiment="late")
    points = [{"key": f"m{step % 3}", "value": step / 7, "step": step} for step in range(1000)]
    call("tracking.log_batch", run_id=run.run_id, metrics=points)
    assert len(call("tracking.metric_history", run_id=run.run_id, key="m0")) == 334
    assert call("tracking.get_run", run_id=run.run_id).metrics["m0"] == 999 / 7
    first = call("tracking.metric_history", run_id=run.run_id, key="m0", limit=300)
    rest = call("tracking.metric_history", run_id=run.run_id, key="m0", after=first[-1])
    assert len(first) + len(rest) == 334


@pytest.fixture
def five_runs(tx: Tx) -> list[str]:
    """Runs a..e: auc 0.5 0.6 0.7 none NaN; rate 0.1 "0.1" 0.2 - -; team Ops ops - - -."""
    made = []
    rows: list[tuple[float | None, dict[str, Any], dict[str, str]]] = [
        (0.5, {"rate": 0.1}, {"team": "Ops_1"}),
        (0.6, {"rate": "0.1"}, {"team": "ops*2"}),
        (0.7, {"rate": 0.2, "deep": True}, {}),
        (None, {}, {}),
        (math.nan, {}, {}),
    ]
    for name, (auc, params, tags) in zip("abcde", rows, strict=True):
        run = start_run(tx, experiment="late" if name < "d" else "early", name=name, params=params, tags=tags)
        if auc is not None:
            log(tx, run_id=run.run_id, metrics={"auc": auc})
        made.append(run.run_id)
    return made


@pytest.mark.usefixtures("five_runs")
@pytest.mark.parametrize(
    ("filter", "names"),
    [
        ("", "abcde"),
        ("metrics.auc > 0.55", "bc"),
        ("metrics.auc != 0.5", "bc"),
        ("not metrics.auc > 0.55", "ade"),
        ("params.rate = 0.1", "a"),
        ("params.rate = '0.1'", "ab"),
        ("params.rate in (0.1, 0.2)", "ac"),
        ("params.rate != 0.1", "bc"),
        ("params.deep = true", "c"),
        ("tags.team like 'ops%'", "b"),
        ("tags.team like 'Ops_1'", "a"),
        ("tags.team like '%*2'", "b"),
        ("tags.team != 'x'", "ab"),
        ("tags.none = 'x' or name in ('a', 'e')", "ae"),
        ("experiment = 'early' and state = 'running'", "de"),
        ("not finished_at > '2013-01-01'", "abcde"),
        ("started_at >= '2013-03-01' and started_at < '2013-03-02'", "abcde"),
    ],
)
def test_filters(tx: Tx, filter: str, names: str) -> None:
    assert "".join(sorted(run.name for run in search_runs(tx, filter=filter))) == names


@pytest.mark.parametrize(
    ("order_by", "names"),
    [
        ("", "edcba"),
        ("metrics.auc desc", "cbaed"),
        ("metrics.auc", "abced"),
        ("params.rate desc", "caedb"),
        ("name asc", "abcde"),
        ("tags.team", "abedc"),
    ],
)
@pytest.mark.usefixtures("five_runs")
def test_orders_put_what_is_missing_last_and_pages_join_up(tx: Tx, order_by: str, names: str) -> None:
    assert "".join(run.name for run in search_runs(tx, order_by=order_by)) == names
    paged, after = "", None
    while page := search_runs(tx, order_by=order_by, limit=2, after=after):
        paged += "".join(run.name for run in page)
        after = page[-1].run_id
    assert paged == names


def test_runs_of_another_project_are_not_found(tx: Tx, five_runs: list[str]) -> None:
    tx.project = "other"
    assert search_runs(tx) == []
    with pytest.raises(NotFound):
        log(tx, run_id=five_runs[0], metrics={"a": 1})


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(0, 1)), min_size=1, max_size=12))
def test_the_last_value_does_not_depend_on_batches(tx: Tx, points: list[tuple[int, int, float]]) -> None:
    together = start_run(tx, experiment="x").run_id
    apart = start_run(tx, experiment="x").run_id
    logged = [LoggedMetric("m", value, step, at_us) for step, at_us, value in points]
    log_batch(tx, run_id=together, metrics=logged)
    for one in logged:
        log_batch(tx, run_id=apart, metrics=[one])
    found = {run.run_id: run.metrics["m"] for run in search_runs(tx, experiment="x", limit=1000) if run.metrics}
    assert found[together] == found[apart]
