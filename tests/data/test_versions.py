"""Versions: numbering, appends, replacements, quarantine, idempotence, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import ImportResult, check_usable
from loopwright.data.row_sums import add_row_sums
from loopwright.data.types import ImportedRows
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied, Quarantined, TooBusy
from loopwright.kernel.verbs import Role
from loopwright.store.jobs import MOST_WAITING
from loopwright.store.types import BlobRef
from tests.data.conftest import put_frame, rows_of, weather, weather_spec
from tests.inprocess import InProcessWorker

Import = Callable[..., ImportResult]
Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _declared(call: Call) -> None:
    call("data.declare", spec=weather_spec())


def test_an_append_shares_the_fragments_before_it(call: Call, import_rows: Import, worker: InProcessWorker) -> None:
    assert import_rows("weather", weather(1)) == ImportResult("ready", 1, 24)
    assert import_rows("weather", weather(2)) == ImportResult("ready", 2, 24)
    first, second = (call("data.get_version", dataset="weather", version=number) for number in (1, 2))
    assert second.fragments[:1] == first.fragments
    assert (second.parent, second.rows, len(second.fragments)) == (1, 48, 2)
    assert second.size_bytes == sum(fragment.size_bytes for fragment in second.fragments)
    assert rows_of(second, worker.blobs).equals(pl.concat([weather(1), weather(2)]), null_equal=True)


def test_a_replacement_stands_alone_and_old_versions_stay(
    call: Call, import_rows: Import, worker: InProcessWorker
) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2), "replace", reason="a better station")
    import_rows("weather", weather(3))
    assert rows_of(call("data.get_version", dataset="weather"), worker.blobs).height == 48
    assert rows_of(call("data.get_version", dataset="weather", version=1), worker.blobs).equals(weather(1))
    assert [version.version for version in call("data.versions", dataset="weather")] == [3, 2, 1]
    assert call("data.versions", dataset="weather")[1].reason == "a better station"


def test_the_same_content_is_not_a_new_version(call: Call, import_rows: Import) -> None:
    import_rows("weather", weather(1, origins=("JFK", "LGA")))
    again = import_rows("weather", weather(1, origins=("LGA", "JFK")).reverse(), "replace")
    assert (again.state, again.version) == ("unchanged", 1)
    appended = import_rows("weather", weather(1))
    assert (appended.state, appended.dropped_rows) == ("unchanged", 24)
    assert len(call("data.versions", dataset="weather")) == 1


def test_a_digest_does_not_depend_on_how_rows_arrived(call: Call, import_rows: Import) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2))
    parts = call("data.get_version", dataset="weather").digest
    call("data.declare", spec=weather_spec(name="other"))
    import_rows("other", pl.concat([weather(2), weather(1)]))
    assert call("data.get_version", dataset="other").digest == parts


def test_a_failing_check_quarantines_and_says_why(call: Call, import_rows: Import, worker: InProcessWorker) -> None:
    import_rows("weather", weather(1))
    result = import_rows("weather", weather(2, temp=80.0))
    assert (result.state, result.version) == ("quarantined", 2)
    assert result.message == (
        "dataset weather version 2 is quarantined: temp between -60 and 60 failed for 24 of 24 rows "
        "(first: origin=JFK, observed_at=2013-03-02T00:00:00Z)"
    )
    assert call("data.get_version", dataset="weather").version == 1
    bad = call("data.get_version", dataset="weather", version=2)
    with pytest.raises(Quarantined, match="failed for 24 of 24 rows"):
        check_usable(bad)
    assert rows_of(bad, worker.blobs).height == 48
    failing = pl.read_parquet(worker.blobs.path(bad.failing_digest))
    assert failing.height == 24
    assert failing["failed_checks"].unique().to_list() == ["temp between -60 and 60"]
    assert len(bad.checks[0].samples) == 20
    newest = call("audit.list", type_prefix="data.version_quarantined")[0]
    assert newest.reason == result.message
    # The next good day builds on the last good one.
    assert import_rows("weather", weather(3)) == ImportResult("ready", 3, 24)
    assert rows_of(call("data.get_version", dataset="weather"), worker.blobs)["temp"].max() == 33.0


def test_the_same_bad_rows_again_are_the_same_quarantined_version(import_rows: Import, call: Call) -> None:
    for _ in range(2):
        assert import_rows("weather", weather(1, temp=80.0)).version == 1
    assert len(call("data.versions", dataset="weather")) == 1
    with pytest.raises(Quarantined):
        call("data.get_version", dataset="weather")


def test_an_approver_releases_a_quarantined_version(dispatcher: Dispatcher, import_rows: Import, call: Call) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2, temp=80.0))
    args = {"dataset": "weather", "version": 2, "reason": "a real heat wave"}
    editor = Actor("person:ed", {"flights": Role.EDITOR})
    with pytest.raises(PermissionDenied):
        dispatcher.call("data.release_quarantine", args, actor=editor, project="flights")
    with pytest.raises(InvalidInput, match="reason"):
        call("data.release_quarantine", **{**args, "reason": " "})
    assert call("data.release_quarantine", **args).state == "ready"
    assert call("data.get_version", dataset="weather").version == 2
    event = call("audit.list", type_prefix="data.version_ready")[0]
    assert (event.reason, event.payload["is_released"], event.payload["rows_added"]) == ("a real heat wave", True, 24)
    with pytest.raises(Conflict, match="cannot become"):
        call("data.release_quarantine", **args)


def test_what_was_overtaken_is_not_released(import_rows: Import, call: Call) -> None:
    import_rows("weather", weather(1, temp=80.0))
    import_rows("weather", weather(2))
    with pytest.raises(Conflict, match="import these rows again"):
        call("data.release_quarantine", dataset="weather", version=1, reason="fine")


def test_a_released_version_and_a_second_quarantined_one_do_not_mix(
    import_rows: Import, call: Call, worker: InProcessWorker
) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2, temp=80.0))
    import_rows("weather", weather(3, temp=90.0))
    call("data.release_quarantine", dataset="weather", version=2, reason="hot")
    assert rows_of(call("data.get_version", dataset="weather", version=3), worker.blobs).height == 48
    assert rows_of(call("data.get_version", dataset="weather", version=2), worker.blobs).height == 48
    with pytest.raises(Conflict):
        call("data.release_quarantine", dataset="weather", version=3, reason="hot")
    import_rows("weather", weather(4))
    assert rows_of(call("data.get_version", dataset="weather"), worker.blobs).height == 72


def test_what_was_released_is_told_of_every_version_that_holds_its_rows(import_rows: Import, call: Call) -> None:
    def released(version: int) -> list[int]:
        return [one.version for one in call("data.released_versions", dataset="weather", version=version)]

    import_rows("weather", weather(1))
    import_rows("weather", weather(2, temp=80.0))
    call("data.release_quarantine", dataset="weather", version=2, reason="hot")
    import_rows("weather", weather(3))
    import_rows("weather", weather(4), "replace")
    assert [released(version) for version in (1, 2, 3, 4)] == [[], [2], [2], []]


def test_a_job_that_ran_twice_made_one_version(worker: InProcessWorker, call: Call) -> None:
    job = call("data.start_import", dataset="weather", blobs=[put_frame(worker.blobs, weather(1))])
    first = worker.run_job(job)
    assert worker.run_job(job) == first
    assert call("data.import_result", job_id=job.job_id).version == 1
    assert len(call("data.versions", dataset="weather")) == 1


class Killed(Exception):
    """The worker dies here."""


@pytest.mark.parametrize("where", ["data.newest_version", "data.finish_import", "jobs.finish"])
def test_a_worker_killed_anywhere_leaves_one_version(worker: InProcessWorker, call: Call, where: str) -> None:
    deaths = [where]

    def die(verb: str) -> None:
        if deaths and verb == deaths[0]:
            deaths.clear()
            raise Killed

    worker.before_call = die
    job = call("data.start_import", dataset="weather", blobs=[put_frame(worker.blobs, weather(1))])
    with pytest.raises(Killed):
        worker.run_all()
    done = worker.run_job(job)
    assert done == {"state": "ready", "version": 1, "rows": 24, "dropped_rows": 0, "message": "", "changed_rows": 0}
    assert len(call("data.versions", dataset="weather")) == 1


def test_two_imports_at_once_serialise(worker: InProcessWorker, call: Call) -> None:
    jobs = [
        call("data.start_import", dataset="weather", blobs=[put_frame(worker.blobs, weather(day))]) for day in (1, 2)
    ]
    interruptions = [jobs[1]]

    def overtake(verb: str) -> None:
        if verb == "data.finish_import" and interruptions:
            worker.run_job(interruptions.pop())

    worker.before_call = overtake
    worker.run_job(jobs[0])
    newest = call("data.get_version", dataset="weather")
    assert (newest.version, newest.parent, newest.rows) == (2, 1, 48)
    assert rows_of(newest, worker.blobs)["observed_at"].n_unique() == 48


def test_imports_from_many_workers_all_arrive(worker: InProcessWorker, call: Call) -> None:
    jobs = [
        call("data.start_import", dataset="weather", blobs=[put_frame(worker.blobs, weather(day, hours=2))])
        for day in range(1, 9)
    ]
    with ThreadPoolExecutor(4) as pool:
        versions = sorted(done["version"] for done in pool.map(worker.run_job, jobs) if done)
    assert versions == list(range(1, 9))
    newest = call("data.get_version", dataset="weather")
    assert rows_of(newest, worker.blobs)["observed_at"].n_unique() == newest.rows == 16


def test_a_failed_import_is_on_record_and_may_be_tried_again(worker: InProcessWorker, call: Call) -> None:
    bad = weather(1).drop("temp")
    call("data.start_import", dataset="weather", blobs=[put_frame(worker.blobs, bad)])
    (job,) = worker.run_all()
    assert job.state == "failed"
    assert call("data.import_result", job_id=job.job_id).state == "failed"
    event = call("audit.list", type_prefix="data.import_failed")[0]
    assert event.payload["job_id"] == job.job_id
    call("data.declare", spec=weather_spec(checks=[]))
    retried = call("jobs.retry", job_id=job.job_id)
    assert retried.state == "queued"
    (job,) = worker.run_all()
    assert job.error is not None, "the declaration is the one of the time it was asked for"


def test_an_import_that_waits_is_held_to_what_is_declared_by_then(worker: InProcessWorker, call: Call) -> None:
    """Else whoever has an old job fail and asks for it again once checks are declared goes past them."""
    call("data.declare", spec=weather_spec(name="loose", checks=[]))
    hot = put_frame(worker.blobs, weather(1, temp=80.0))
    for job_id in [call("data.start_import", dataset="loose", blobs=[hot]).job_id for _ in range(2)]:
        call("jobs.cancel", job_id=job_id)
    call("data.declare", spec=weather_spec(name="loose"))
    call("jobs.retry", job_id=job_id)
    [job] = worker.run_all()
    assert job.error is not None
    assert "declared anew" in job.error["message"]
    assert "between(temp, high=60, low=-60) -> nothing" in job.error["value"]
    assert call("data.versions", dataset="loose") == []
    moved = weather_spec(name="loose", key=["origin"], time=None, known_at={})
    call("data.start_import", dataset="loose", blobs=[put_frame(worker.blobs, weather(1, 1))])
    call("data.declare", spec=moved)
    [job] = worker.run_all()
    assert job.error is not None
    assert job.error["value"] == "key; time"


def test_unknown_versions_and_pushes_without_rows_are_refused(call: Call) -> None:
    with pytest.raises(NotFound, match="no version yet"):
        call("data.get_version", dataset="weather")
    with pytest.raises(NotFound, match="no version 7"):
        call("data.get_version", dataset="weather", version=7)
    with pytest.raises(NotFound, match="no dataset"):
        call("data.get_version", dataset="wether")
    with pytest.raises(InvalidInput, match="cannot be read from a place"):
        call("data.start_import", dataset="weather")
    with pytest.raises(InvalidInput, match="no rows were sent"):
        call("data.start_import", dataset="weather", blobs=[])


def test_only_the_import_of_a_dataset_tells_how_it_ended(call: Call, dispatcher: Dispatcher) -> None:
    call("data.declare", spec=msgspec.structs.replace(weather_spec(), name="other"))
    job = call("data.start_import", dataset="other", blobs=[BlobRef("a" * 64, 1)])
    facts = {"operation": "append", "parent": None, "spec": weather_spec(), "schema": [], "fragments": [], "rows": 0}
    facts |= {"dataset": "weather", "row_sum": "0" * 32, "profile": BlobRef("a" * 64, 1), "checks": []}
    for verb, told in (
        ("data.fail_import", {"dataset": "weather", "error": {"message": "no"}}),
        ("data.finish_import", {"imported": to_builtins(facts)}),
    ):
        with pytest.raises(InvalidInput, match="imports something else; field: job_id"):
            dispatcher.call(verb, {"job_id": job.job_id, **told}, actor=SERVICE_ACTOR, project="flights")
        with pytest.raises(NotFound, match="no such job"):
            dispatcher.call(verb, {"job_id": "j", **told}, actor=SERVICE_ACTOR, project="flights")
    assert call("data.versions", dataset="weather") == []


def test_internal_verbs_are_not_for_persons(dispatcher: Dispatcher) -> None:
    admin = Actor("person:ad", {"flights": Role.ADMIN})
    with pytest.raises(PermissionDenied):
        dispatcher.call(
            "data.fail_import", {"job_id": "j", "dataset": "weather", "error": {}}, actor=admin, project="flights"
        )
    assert dispatcher.call("data.versions", {"dataset": "weather"}, actor=LOCAL_ACTOR, project="flights") == []


def test_two_versions_are_compared_by_a_job(call: Call, import_rows: Import, worker: InProcessWorker) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2))
    changed = weather(1).with_columns(temp=pl.when(pl.col("wind") == 4).then(1.5).otherwise("temp"))
    import_rows("weather", changed, "replace")
    job = call("data.start_diff", dataset="weather", before=2, after=3)
    assert call("data.start_diff", dataset="weather", before=2, after=3) == job
    assert call("data.diff_result", job_id=job.job_id) is None
    worker.run_all()
    diff = call("data.diff_result", job_id=job.job_id)
    assert (diff.added_rows, diff.removed_rows, diff.changed_rows) == (0, 24, 1)
    assert diff.samples["changed"] == [
        {
            "origin": "JFK",
            "observed_at": "2013-03-01T02:00:00Z",
            "changes": {"temp": {"before": 12.0, "after": 1.5}},
        }
    ]


def test_a_comparison_of_before_masks_what_is_personal_by_now(
    call: Call, import_rows: Import, worker: InProcessWorker
) -> None:
    import_rows("weather", weather(1, 1))
    import_rows("weather", weather(1, 1, temp=11.0), "replace")
    job = call("data.start_diff", dataset="weather", before=1, after=2)
    worker.run_all()
    [told] = call("data.diff_result", job_id=job.job_id).samples["changed"]
    assert told["changes"]["temp"] == {"before": 10.0, "after": 11.0}
    call("data.declare", spec=weather_spec(personal=["temp"]))
    found = call("data.diff_result", job_id=job.job_id)
    assert found.samples["changed"][0]["changes"]["temp"] == {"before": "•••", "after": "•••"}
    assert not {"low", "high", "mean"} & {one.what for one in found.statistics if one.column == "temp"}


def test_only_so_many_comparisons_wait(call: Call, import_rows: Import) -> None:
    """A viewer asks for them, and there are as many as pairs of versions."""
    for day in range(1, 9):
        import_rows("weather", weather(day, 1))
    pairs = [(before, after) for after in range(2, 9) for before in range(1, after)]
    for before, after in pairs[:MOST_WAITING]:
        call("data.start_diff", dataset="weather", before=before, after=after)
    before, after = pairs[MOST_WAITING]
    with pytest.raises(TooBusy, match="wait in the project"):
        call("data.start_diff", dataset="weather", before=before, after=after)
    assert call("data.start_diff", dataset="weather", before=1, after=2).state == "queued"


def test_a_comparison_that_failed_is_tried_again_when_it_is_asked_for_again(
    call: Call, import_rows: Import, worker: InProcessWorker
) -> None:
    import_rows("weather", weather(1))
    import_rows("weather", weather(2))
    (lost,) = call("data.get_version", dataset="weather").fragments[1:]
    body = worker.blobs.get(lost.digest)
    worker.blobs.delete(lost.digest)
    asked = call("data.start_diff", dataset="weather", before=1, after=2)
    (failed,) = worker.run_all()
    assert failed.state == "failed"
    worker.blobs.put(body)
    again = call("data.start_diff", dataset="weather", before=1, after=2)
    assert (again.job_id, again.state) == (asked.job_id, "queued")
    assert call("data.diff_result", job_id=asked.job_id) is None
    worker.run_all()
    assert call("data.diff_result", job_id=asked.job_id).added_rows == 24


@pytest.mark.parametrize("row_sum", ["", "late", "F" * 32, "0" * 31, "0" * 33])
def test_what_is_no_row_sum_makes_no_version(row_sum: str) -> None:
    facts = {"dataset": "weather", "operation": "append", "parent": None, "spec": weather_spec(), "schema": []}
    facts |= {"fragments": [], "rows": 0, "row_sum": row_sum, "profile": BlobRef("a" * 64, 1), "checks": []}
    with pytest.raises(InvalidInput, match="row_sum"):
        convert(to_builtins(facts), ImportedRows)


def test_row_sums_add_up_in_two_lanes() -> None:
    assert add_row_sums("", "") == "0" * 32
    assert add_row_sums("f" * 32, "0" * 15 + "1" + "0" * 15 + "2") == "0" * 31 + "1"
