"""Deleting things: refused while something living needs them, whole, told to whoever follows a ref to them."""

from typing import Any

import msgspec
import pytest

from loopwright.data import CheckSpec
from loopwright.governance import LOCAL_ACTOR, Actor
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.ids import encode_ulid, parse_id
from loopwright.kernel.verbs import Role
from loopwright.loop.housekeeping import deletion
from loopwright.loop.housekeeping.nouns import NOUNS, STAYS
from loopwright.store import forgetting
from loopwright.store.columns import METADATA
from tests.inprocess import InProcessWorker
from tests.loop.conftest import PROJECT, Importer, Loop, end_job
from tests.loop.training.test_evaluations import GATED

GONE = {"reason": "nobody wants it"}


def holds_of(loop: Loop, ref: str) -> list[str]:
    """Return what keeps a thing, in words."""
    return [hold.why for hold in loop("deletion.plan", ref=ref).holds]


def delete(loop: Loop, *refs: str) -> None:
    for ref in refs:
        loop("deletion.delete", ref=ref, **GONE)


def freeze(loop: Loop, version: int) -> str:
    """Freeze a training set of a dataset version; return its ref."""
    blob = loop.blobs.put(f"rows joined from {version}".encode())
    spec = {"service": "late", "dataset_versions": {"flights": version}, "start_at": None, "end_at": 9, "known_by": 9}
    made = loop.service(
        "features.record_training_set",
        spec=spec,
        blob=blob,
        rows=3,
        plan_digest=loop("features.freeze_plan", service="late"),
        event_at_min=1,
        event_at_max=9,
    )
    return f"training_set:late/{made.version}"


def run_of(loop: Loop) -> str:
    """Log a run that has ended; return its id."""
    run = loop("tracking.start_run", experiment="tuning", params={"depth": 3}, tags={"by": "ana"}, execution_id="x")
    loop("tracking.log", run_id=run.run_id, metrics={"loss": 0.5}, step=1)
    loop("tracking.finish_run", run_id=run.run_id)
    return str(run.run_id)


def test_a_plan_names_what_lives_and_all_on_the_way_to_it(loop: Loop) -> None:
    run = run_of(loop)
    first = loop.register(run=f"flights/run:{run}")
    second = loop.register(refit_of=first)
    loop("registry.set_alias", model="late", alias="favourite", version=second, reason="it is")
    plan = loop("deletion.plan", ref=f"run:{run}")
    assert [hold.why for hold in plan.holds] == [
        f"flights/model:late/{second} was made of it by way of flights/model:late/{first}; alias favourite names it"
    ]
    assert plan.made_of_it == [], "what lives does not stay without it"
    loop("registry.remove_alias", model="late", alias="favourite", reason="it is not")
    plan = loop("deletion.plan", ref=f"run:{run}")
    assert (plan.holds, sorted(plan.made_of_it)) == ([], [f"flights/model:late/{number}" for number in (first, second)])


def test_every_table_is_something_that_goes_or_says_why_it_stays() -> None:
    goes = {rows.table for noun in NOUNS.values() for rows in (*noun.belongings, noun.itself) if rows is not None}
    assert goes | set(STAYS) == set(METADATA.tables)
    assert not goes & set(STAYS)
    for noun in NOUNS.values():
        for rows in [rows for rows in (*noun.belongings, noun.itself) if rows is not None]:
            columns = {rows.name, rows.version or rows.name, *rows.fixed}
            assert columns <= set(METADATA.tables[rows.table].c.keys())
        assert noun.itself is None or set(noun.facts) <= set(METADATA.tables[noun.itself.table].c.keys())


def test_what_serves_is_held_with_all_it_rests_on_and_goes_once_nothing_needs_it(
    loop: Loop, importer: Importer
) -> None:
    importer.load()
    training_set, run = freeze(loop, 1), run_of(loop)
    version = loop.register(training_set=training_set, run=run)
    loop.service("loop.finish_training", execution_id="x", model="late", version=version, passed=True, reason="ran")
    importer.load("replace")
    for ref in ("dataset:flights/1", training_set, f"run:{run}", "experiment:tuning", "model:late/1", "model:late"):
        with pytest.raises(Conflict, match="something needs this still") as refused:
            loop("deletion.delete", ref=ref, **GONE)
        assert refused.value.next_step
        assert any("alias champion names it" in hold["why"] for hold in refused.value.details["holds"])
    assert "flights/model:late/1 was made of it; alias champion names it" in holds_of(loop, training_set)
    loop("serving.retire", deployment="late", reason="the desk closed")
    assert holds_of(loop, "model:late/1") == ["alias champion names it"]
    loop("registry.remove_alias", model="late", alias="champion", reason="nothing serves")
    assert loop("deletion.plan", ref=f"run:{run}").made_of_it == ["flights/model:late/1"]
    delete(loop, "model:late/1", training_set, f"run:{run}", "dataset:flights/1")
    assert loop("registry.models") == []
    loop.register()
    assert [one.version for one in loop("registry.versions", model="late")] == [2]


def test_a_deleted_thing_is_told_of_by_every_query_for_it(loop: Loop, importer: Importer) -> None:
    importer.load()
    importer.load("replace")
    run = run_of(loop)
    version = loop.register("old")
    delete(loop, f"model:old/{version}", f"run:{run}", "dataset:flights/1")
    for verb, args in (
        ("registry.get_version", {"model": "old", "version": version}),
        ("tracking.get_run", {"run_id": run}),
        ("data.get_version", {"dataset": "flights", "version": 1}),
        ("deletion.plan", {"ref": f"run:{run}"}),
    ):
        with pytest.raises(NotFound, match=r"was deleted at 2013-\S+ by person:local: nobody wants it"):
            loop(verb, **args)
    with pytest.raises(Conflict):
        loop("deletion.delete", ref="dataset:flights/2", **GONE)
    [event] = loop("audit.list", ref=f"flights/run:{run}", type_prefix="deletion.")
    assert (event.reason, event.payload["rows"]["metric_points"]) == ("nobody wants it", 1)
    assert [left.name for left in loop("deletion.list", kind="run")] == [run]


def test_deleting_twice_is_once(loop: Loop) -> None:
    run = run_of(loop)
    first = loop("deletion.delete", ref=f"run:{run}", **GONE)
    loop.wall.at_us += 1_000_000
    again = loop("deletion.delete", ref=f"run:{run}", reason="another")
    assert (again.deleted_at, again.reason) == (first.deleted_at, "nobody wants it")
    assert len(loop("audit.list", type_prefix="deletion.")) == 1
    with pytest.raises(NotFound, match="no such run"):
        loop("deletion.delete", ref="run:run_never", **GONE)


def test_a_whole_goes_with_its_parts_and_much_of_it_by_a_job(
    loop: Loop, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run_of(loop) for _ in range(3)]
    kept = loop("tracking.start_run", experiment="other", params={"depth": 3}).run_id
    monkeypatch.setattr(deletion, "ROWS_AT_ONCE", 2)
    assert loop("deletion.plan", ref="experiment:tuning").parts == {"run": 3}
    delete(loop, "experiment:tuning")
    assert [one.name for one in loop("tracking.experiments")] == ["other"]
    assert loop("tracking.search_runs", order_by="metrics.loss desc")[0].run_id == kept

    def rows_left() -> dict[str, int]:
        counts = loop.dispatcher.read("flights", LOCAL_ACTOR, forgetting.count_rows)
        return {name: rows for name, rows in counts.items() if name in ("run_params", "metric_points", "run_tags")}

    assert rows_left() != {"run_params": 1}
    worker = InProcessWorker(loop.dispatcher, loop.blobs, tmp_path, loop.wall)
    worker.run()
    assert rows_left() == {"run_params": 1}
    for run in runs:
        with pytest.raises(NotFound, match="was deleted"):
            loop("tracking.get_run", run_id=run)
    assert loop.service("deletion.forget_rows") == 0


def test_a_name_that_is_declared_anew_counts_on_and_keeps_its_new_rows(loop: Loop, importer: Importer) -> None:
    importer.load()
    loop.apply(views=[], services=[], trains=[], retrains=[], deployments=[], monitors={})
    refs = ["pipeline:fit", "feature_service:late", "feature_view:recent", "dataset:flights"]
    for early in refs[1:]:
        with pytest.raises(Conflict, match="needs this still"):
            loop("deletion.delete", ref=early, **GONE)
    for job in loop("jobs.list", states=["queued"]):
        loop("jobs.cancel", job_id=job.job_id)
    delete(loop, *refs)
    assert [loop(verb) for verb in ("data.list", "features.list", "pipelines.list_pipelines")] == [[], [], []]
    loop.apply()
    plan = loop("loop.plan", spec=loop("loop.spec"))
    assert {change.change for change in plan.changes} == {"unaffected"}
    loop.wall.at_us += 1
    importer.load()
    assert loop("data.get", dataset="flights").newest == 2
    loop.service("deletion.forget_rows")
    assert len(loop("data.get_version", dataset="flights").fragments) == 1
    with pytest.raises(NotFound, match="dataset flights version 1 was deleted"):
        loop("data.get_version", dataset="flights", version=1)


def test_rows_that_were_pushed_to_a_dataset_before_its_end_do_not_enter_the_next_of_its_name(loop: Loop) -> None:
    loop.apply(views=[], services=[], trains=[], retrains=[], deployments=[], monitors={})

    def register(seq: int, *at_us: int) -> NotFound | None:
        """Hand over rows that came at these moments; return why they are refused."""
        ids = sorted(f"push_{encode_ulid((at // 1000 << 80) + 5)}" for at in at_us)
        rows = {"kind": "pushes", "stream": "flights", "writer": "w", "seq": seq, "digest": "0" * 64, "rows": len(ids)}
        ends = {"size_bytes": 1, "id_first": ids[0], "id_last": ids[-1], "event_at_min": 0, "event_at_max": 0}
        try:
            loop.service("chunks.register", chunks=[{**rows, **ends}])
        except NotFound as error:
            return error
        return None

    def seqs() -> list[int]:
        return [chunk.seq for chunk in loop.service("chunks.find", kind="pushes", stream="flights")]

    early = loop.wall.at_us
    assert register(1, early) is None
    loop.wall.at_us += 1_000_000
    for job in loop("jobs.list", states=["queued"]):
        loop("jobs.cancel", job_id=job.job_id)
    delete(loop, "pipeline:fit", "feature_service:late", "feature_view:recent", "dataset:flights")
    late = loop.wall.at_us + 1_000_000
    for seq, at_us in ((1, early), (2, early), (3, late)):
        refused = register(seq, at_us)
        assert refused is not None
        assert refused.details == {"deleted": True}
        assert "dataset flights was deleted at" in refused.message
    assert seqs() == []
    loop.apply()
    assert register(2, early) is not None
    mixed = register(3, early, late)
    assert mixed is not None
    assert early < parse_id(mixed.details["first_kept"])[1] <= late
    assert seqs() == []
    assert register(3, late) is None
    assert seqs() == [3]


def test_what_was_deleted_is_new_to_the_file_that_declares_it_still(loop: Loop) -> None:
    spec = loop("loop.spec")
    loop.apply(retrains=[], trains=[])
    delete(loop, "train:fit", "service:late", "view:recent")
    changes = {change.ref: change.change for change in loop("loop.plan", spec=spec).changes}
    assert changes["flights/feature_service:late"] == changes["flights/view:recent"] == "new"
    loop("loop.apply", spec=spec)
    assert loop("features.get", kind="view", name="recent").name == "recent"


def test_what_runs_is_not_deleted(loop: Loop) -> None:
    run = loop("tracking.start_run", experiment="tuning")
    execution = loop("pipelines.start", pipeline="fit", reason="now")
    assert holds_of(loop, "experiment:tuning") == [f"run {run.run_id} goes on"]
    job_id = execution.execution_id.replace("exe_", "job_")
    assert sorted(holds_of(loop, "pipeline:fit")) == [
        f"execution {execution.execution_id} is queued",
        f"job {job_id} (pipelines.execute) works on it",
        "the policy of deployment late retrains by it",
    ]
    loop("pipelines.cancel", execution_id=execution.execution_id)
    loop("tracking.finish_run", run_id=run.run_id)
    loop("jobs.cancel", job_id=job_id)
    delete(loop, f"execution:{execution.execution_id}", "experiment:tuning")
    with pytest.raises(NotFound, match=r"execution \S+ was deleted"):
        loop("pipelines.get", execution_id=execution.execution_id)


def test_appended_versions_and_what_views_are_filled_from_hold(loop: Loop, importer: Importer) -> None:
    importer.load()
    importer.load()
    assert holds_of(loop, "dataset:flights/1") == ["version 2 was built on it and holds its rows"]
    assert holds_of(loop, "dataset:flights/2") == ["feature view recent is filled from it"]
    loop("data.tag", dataset="flights", version=2, tag="gold")
    assert "tag gold names it" in holds_of(loop, "dataset:flights/2")
    loop("data.untag", dataset="flights", tag="gold")
    importer.load("replace")
    delete(loop, "dataset:flights/2", "dataset:flights/1")
    assert [one.version for one in loop("data.versions", dataset="flights")] == [3]
    importer.load()
    assert loop("data.get", dataset="flights").newest == 4


def test_nothing_about_a_thing_that_is_gone_waits_for_a_person(loop: Loop, importer: Importer) -> None:
    checked = msgspec.structs.replace(PROJECT.datasets[0], checks=[CheckSpec("not_null", "carrier")])
    loop.apply(datasets=[checked], deployments=[GATED])
    importer.load()
    importer.load(carrier=None)
    model = f"late/{loop.register()}"
    job = loop("loop.start_evaluation", model="late", service="late")
    end_job(loop, job, "jobs.fail", error={"code": "invalid_input", "message": "no row has a label in this time"})
    versions = {f"flights/{ref}" for ref in ("dataset:flights/2", f"model:{model}")}
    assert {incident.subject for incident in loop("monitoring.incidents", states=["open"])} == versions
    assert len(loop.needs_person()) == 2
    delete(loop, "dataset:flights/2", f"model:{model}")
    ended = loop("monitoring.incidents")
    assert {(one.state, one.resolution) for one in ended} == {("resolved", "it was deleted: nobody wants it")}
    assert loop.needs_person() == []
    assert loop("jobs.get", job_id=job.job_id).state == "dismissed"


def test_a_rollback_keeps_what_it_would_return_to(serving: Loop) -> None:
    serving.train("exe_2")
    serving.promote()
    serving("registry.remove_alias", model="late", alias="champion", reason="to look behind it")
    assert holds_of(serving, "model:late/1") == ["deployment late would return to it by a rollback"]
    assert holds_of(serving, "model:late/2") == ["deployment late serves it"]


def test_who_may_delete_what(loop: Loop) -> None:
    run = run_of(loop)
    loop.register("old")
    editor = Actor("person:ed", {"flights": Role.EDITOR})

    def as_editor(verb: str, **args: Any) -> Any:
        return loop.dispatcher.call(verb, args, actor=editor, project="flights")

    assert as_editor("deletion.plan", ref="model:old").parts == {"model version": 1}
    with pytest.raises(PermissionDenied, match="may not delete a model"):
        as_editor("deletion.delete", ref="model:old", **GONE)
    assert as_editor("deletion.delete", ref=f"run:{run}", **GONE).deleted_by == "person:ed"
    with pytest.raises(InvalidInput, match="needs a reason"):
        as_editor("deletion.delete", ref=f"run:{run}", reason=" ")
    for ref, message in (("deployment:late", "nothing of this kind"), ("other/run:x", "another project")):
        with pytest.raises(InvalidInput, match=message):
            loop("deletion.delete", ref=ref, **GONE)


def test_a_plan_names_the_versions_that_hold_the_same_rows(loop: Loop, importer: Importer) -> None:
    """Who deletes rows so that nobody reads them has to know where they stay."""
    for operation in ("append", "append", "replace"):
        importer.load(operation)
    assert loop("deletion.plan", ref="dataset:flights/2").also_in == []
    loop("data.restore", dataset="flights", version=2, reason="the third was a hoax")
    importer.load()
    for version in (1, 2):
        assert loop("deletion.plan", ref=f"dataset:flights/{version}").also_in == ["flights/dataset:flights/4"]
    assert loop("deletion.plan", ref="dataset:flights/3").also_in == []
    assert loop("deletion.plan", ref="dataset:flights").also_in == []
