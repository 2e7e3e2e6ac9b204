"""What needs a person: each kind appears, says what answers it, and goes away when it is answered."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from loopwright.data import CheckSpec
from loopwright.governance import SERVICE_ACTOR, SYSTEM
from loopwright.kernel.clock import DAY_US, MINUTE_US, SECOND_US
from loopwright.kernel.errors import InvalidInput, StorageFull, Unavailable
from loopwright.kernel.verbs import VERBS
from loopwright.loop import attention
from loopwright.loop.attention import NEED_KINDS, SEVERITIES, Attention, Need
from loopwright.server.disk import DiskWatch
from loopwright.store import doubts
from loopwright.store.types import Job
from tests.loop.conftest import BY_POLICY, PROJECT, Importer, Loop, end_job

GATEWAY = {"gateway": "gw_1", "address": "http://g", "position": 1}
FAILURE = {"gateway": "gw_1", "deployment": "late", "number": 1, "why": "its blob is gone"}


def needs(loop: Loop) -> list[Need]:
    answer: Attention = loop("loop.attention")
    assert answer.total == len(answer.needs) == sum(answer.by_kind.values())
    assert {need.kind for need in answer.needs} == set(answer.by_kind) <= set(NEED_KINDS)
    assert [SEVERITIES.index(need.severity) for need in answer.needs] == sorted(
        SEVERITIES.index(need.severity) for need in answer.needs
    )
    for need in answer.needs:
        assert need.event_at is not None or need.recorded_at is not None
        for given in need.answers:
            verb = VERBS[given.verb]
            asked = {name for name, one in verb.parameters.items() if one.default is one.empty} - {"reason"}
            assert asked <= set(given.args) <= set(verb.parameters), given
    assert loop("loop.status").needs == answer.needs
    assert loop.needs_person() == [need.line for need in answer.needs]
    return answer.needs


def only(loop: Loop, kind: str) -> Need:
    [need] = needs(loop)
    assert need.kind == kind
    return need


def answer(loop: Loop, need: Need, verb: str = "") -> None:
    """Answer a need with the verb it offers, the first one or one that is named."""
    given = next(one for one in need.answers if verb in ("", one.verb))
    is_reasoned = "reason" in VERBS[given.verb].parameters
    loop(given.verb, **given.args, **({"reason": "seen"} if is_reasoned else {}))


def acknowledge(loop: Loop, **facts: Any) -> None:
    args = {**GATEWAY, **facts}
    loop.dispatcher.call("serving.acknowledge", args, actor=SERVICE_ACTOR, project=SYSTEM)


def fail(loop: Loop, job: Job, message: str = "no such file") -> None:
    end_job(loop, job, "jobs.fail", error={"code": "invalid_input", "message": message, "next_step": "correct it"})


def test_a_quiet_project_needs_nobody(loop: Loop) -> None:
    assert needs(loop) == []


def test_jobs_that_no_worker_takes_are_told_until_one_does(loop: Loop) -> None:
    blob = loop.blobs.put(b"no parquet")
    loop.apply(datasets=[PROJECT.datasets[0]])
    job = loop("data.start_import", dataset="flights", blobs=[blob])
    assert needs(loop) == []
    loop.wall.at_us += 2 * MINUTE_US
    need = only(loop, "worker")
    assert (need.severity, need.command) == ("critical", "loopwright logs worker")
    assert "1 job waits" in need.sentence
    assert "no worker does jobs of the lane work" in need.sentence
    loop.dispatcher.database._doubts.failed(StorageFull("the disk is full"))
    assert only(loop, "database").severity == "critical", "no worker can take one while nothing can be written"
    loop.dispatcher.database._doubts.ended()
    other = loop("data.start_import", dataset="flights", blobs=[blob])
    assert only(loop, "worker").recorded_at == need.recorded_at
    claim = {"worker": "wrk_1", "kinds": [job.kind], "slots": {"work": 1}}
    [taken] = loop.dispatcher.call("jobs.claim", claim, actor=SERVICE_ACTOR, project=SYSTEM)
    loop.wall.at_us += SECOND_US
    assert taken.job_id == job.job_id != other.job_id
    assert needs(loop) == []  # the other waits for its turn
    loop.wall.at_us += 3 * MINUTE_US
    assert only(loop, "worker").kind == "worker"  # whoever took the first is gone


def test_an_approval_waits_until_it_is_decided(loop: Loop) -> None:
    spec = msgspec.structs.replace(PROJECT.deployments[0], approve=msgspec.structs.replace(BY_POLICY, first="person"))
    loop.apply(deployments=[spec])
    loop.train()
    need = only(loop, "approval")
    assert need.command == f"loopwright approve {need.answers[0].args['approval_id']}"
    assert [given.verb for given in need.answers] == ["approvals.approve", "approvals.reject"]
    answer(loop, need)
    assert needs(loop) == []


def test_an_incident_is_told_until_it_is_resolved(serving: Loop) -> None:
    facts = {"subject": "flights/deployment:late", "kind": "latency", "severity": "critical"}
    serving.service("monitoring.raise_alert", message="answers take 2 s", **facts)
    serving.service("monitoring.raise_alert", message="drift", **{**facts, "kind": "drift"}, needs_person=False)
    need = only(serving, "incident")
    assert (need.severity, need.sentence, need.owner) == ("critical", "answers take 2 s", "")
    answer(serving, need, "monitoring.acknowledge")
    need = only(serving, "incident")
    assert need.owner == "person:local"
    answer(serving, need, "monitoring.resolve")
    assert needs(serving) == []


def test_a_quarantine_and_its_incident_are_one(loop: Loop, importer: Importer) -> None:
    loop.apply(datasets=[msgspec.structs.replace(PROJECT.datasets[0], checks=[CheckSpec("not_null", "carrier")])])
    importer.load(carrier=None)
    need = only(loop, "quarantine")
    [incident] = loop("monitoring.incidents")
    assert need.incident_id == incident.incident_id
    assert need.sentence.startswith("dataset flights version 1 is quarantined: carrier")
    loop("monitoring.resolve", incident_id=incident.incident_id, reason="seen")
    assert only(loop, "quarantine").incident_id == ""
    answer(loop, only(loop, "quarantine"), "data.release_quarantine")
    assert needs(loop) == []


def test_a_version_that_was_released_from_quarantine_needs_nobody(loop: Loop, importer: Importer) -> None:
    loop.apply(datasets=[msgspec.structs.replace(PROJECT.datasets[0], checks=[CheckSpec("not_null", "carrier")])])
    importer.load(carrier=None)
    answer(loop, only(loop, "quarantine"), "data.release_quarantine")
    assert needs(loop) == []
    [incident] = loop("monitoring.incidents")
    assert incident.state == "resolved"


def test_a_failed_pipeline_is_told_until_it_runs_again_or_another_did(serving: Loop) -> None:
    execution = serving("pipelines.start", pipeline="fit")
    serving.service("pipelines.finish_execution", execution_id=execution.execution_id, error={"message": "no rows"})
    need = only(serving, "pipeline")
    assert need.sentence == "pipeline fit failed: no rows"
    assert need.command == f"loopwright logs {execution.execution_id}"
    assert "mended in the code: loopwright apply FILE, then loopwright start fit" in need.next_step
    answer(serving, need)
    assert needs(serving) == []
    serving.service("pipelines.finish_execution", execution_id=execution.execution_id, error={"message": "no rows"})
    serving.wall.at_us += 1
    serving("pipelines.start", pipeline="fit")
    assert needs(serving) == []


def test_a_failed_retrain_and_its_incident_are_one(serving: Loop) -> None:
    execution_id = serving.retrain().execution_id
    serving.service("pipelines.finish_execution", execution_id=execution_id, error={"message": "no rows"})
    need = only(serving, "pipeline")
    [incident] = serving("monitoring.incidents")
    assert (need.severity, need.incident_id) == ("critical", incident.incident_id)
    serving("monitoring.resolve", incident_id=incident.incident_id, reason="seen")
    serving("pipelines.cancel", execution_id=serving("pipelines.retry", execution_id=execution_id).execution_id)
    assert needs(serving) == []


def test_a_failed_import_is_told_until_rows_come_or_it_is_dismissed(loop: Loop, importer: Importer) -> None:
    blob = loop.blobs.put(b"no parquet")

    def fail_import() -> Need:
        loop.wall.at_us += 1
        fail(loop, loop("data.start_import", dataset="flights", blobs=[blob]))
        return only(loop, "import")

    need = fail_import()
    assert need.sentence == "an import into flights failed: no such file"
    assert need.next_step == "correct it"
    loop.wall.at_us += 1
    importer.load()
    [fill] = loop("jobs.list", kind="features.materialize", states=["queued"])
    end_job(loop, fill)
    assert needs(loop) == []
    answer(loop, fail_import(), "jobs.dismiss")
    assert needs(loop) == []
    [told] = loop("audit.list", type_prefix="jobs.dismissed")
    assert told.reason == "seen"
    answer(loop, fail_import(), "jobs.retry")
    assert needs(loop) == []


def test_a_failed_fill_is_told_until_the_view_is_filled(loop: Loop, importer: Importer) -> None:
    importer.load()
    [fill] = loop("jobs.list", kind="features.materialize", states=["queued"])
    fail(loop, fill, "the store is read-only")
    assert only(loop, "fill").sentence == "a fill of recent failed: the store is read-only"
    loop.wall.at_us += 1
    end_job(loop, loop("features.start_materialize", view="recent"))
    assert needs(loop) == []


def test_any_other_failed_job_stays_until_somebody_answers(serving: Loop, importer: Importer) -> None:
    for _ in range(2):
        serving.wall.at_us += 1
        importer.load()
    for fill in serving("jobs.list", kind="features.materialize", states=["queued"]):
        end_job(serving, fill)
    job = start_measuring(serving, 0)
    fail(serving, job, "out of memory")
    need = only(serving, "job")
    assert need.sentence == "job monitoring.evaluate_range of deployment:late failed: out of memory"
    assert need.command == f"loopwright retry {job.job_id}"
    answer(serving, need, "jobs.dismiss")
    assert needs(serving) == []


def start_measuring(loop: Loop, day: int) -> Job:
    job: Job = loop("monitoring.evaluate_range", deployment="late", start_at=day * DAY_US, end_at=(day + 1) * DAY_US)
    return job


def test_a_job_whose_answer_somebody_waits_for_needs_nobody_else(serving: Loop, importer: Importer) -> None:
    """As it opens no incident: whoever started it reads why it failed."""
    for _ in range(2):
        serving.wall.at_us += 1
        importer.load()
    for fill in serving("jobs.list", kind="features.materialize", states=["queued"]):
        end_job(serving, fill)
    fail(serving, serving("data.start_diff", dataset="flights", before=1, after=2))
    assert needs(serving) == []
    assert serving("monitoring.incidents") == []


def test_of_many_failed_jobs_the_newest_are_told_and_the_others_counted(
    serving: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "MOST_JOBS", 3)
    started = [start_measuring(serving, day) for day in range(8)]
    for job in started:
        serving.wall.at_us += 1
        fail(serving, job)
    answered: Attention = serving("loop.attention")
    assert (len(answered.needs), answered.total, answered.by_kind) == (4, 8, {"job": 8})
    assert answered.needs[-1].sentence == "5 earlier jobs monitoring.evaluate_range of deployment:late failed"
    assert answered.incidents == 1
    for job in started[3:]:
        serving("jobs.dismiss", job_id=job.job_id, reason="seen")
    assert [need.count for need in needs(serving)] == [1, 1, 1]


def test_a_release_that_cannot_be_loaded_is_told_until_a_newer_one(serving: Loop) -> None:
    serving.service("serving.report_failure", **FAILURE)
    acknowledge(serving, failures=[{**FAILURE, "project": "flights"}])
    need = only(serving, "release")
    assert (need.severity, need.ref) == ("critical", "flights/release:late/1")
    assert need.sentence == "release 1 of late cannot be loaded by gw_1, nothing is served: its blob is gone"
    assert need.recorded_at == serving.wall.at_us
    serving.train()
    serving.promote()
    assert needs(serving) == []


def test_a_fault_of_the_online_store_is_told_as_such_and_rolls_nothing_back(serving: Loop) -> None:
    fault = {"next_step": "see whether it is up", "is_of_store": True, "number": 1}
    acknowledge(serving, failures=[{**FAILURE, **fault, "project": "flights"}])
    need = only(serving, "release")
    assert "nothing is served" in need.sentence
    assert (need.next_step, need.command, need.answers) == ("see whether it is up", "loopwright doctor", [])
    acknowledge(serving, failures=[{**FAILURE, "serves": 7, "project": "flights"}])
    need = only(serving, "release")
    assert "release 7 serves on" in need.sentence
    assert [answer.verb for answer in need.answers] == ["loop.rollback"]


def test_a_trouble_that_says_what_to_do_is_told_with_that(serving: Loop) -> None:
    trouble = {"kind": "store", "message": "lost", "since": serving.wall.at_us, "next_step": "fill it: this call"}
    acknowledge(serving, troubles=[trouble])
    assert only(serving, "gateway").next_step == "fill it: this call"


def test_a_feed_is_late_where_it_used_to_come_regularly(loop: Loop, importer: Importer) -> None:
    def load(pauses: list[int]) -> None:
        for days in pauses:
            loop.wall.at_us += days * DAY_US
            importer.load()
            for fill in loop("jobs.list", kind="features.materialize", states=["queued"]):
                end_job(loop, fill)

    load([1, 1, 1, 2, 1])
    loop.wall.at_us += 30 * DAY_US
    assert needs(loop) == [], "five versions make no rhythm"
    load([0, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1])
    loop.wall.at_us += 4 * DAY_US
    assert needs(loop) == [], "twice the longest pause is borne"
    loop.wall.at_us += SECOND_US
    need = only(loop, "feed")
    assert "dataset flights is late: its last version came 4d ago, those before at most 2d" in need.sentence
    load([0])
    assert needs(loop) == []


@pytest.mark.parametrize(
    ("kind", "severity", "step"),
    [
        ("child", "warning", "roll back"),
        ("disk", "critical", "free space"),
        ("sealing", "warning", "tried again by itself"),
        ("spool", "warning", "loopwright salvage"),
        ("store", "critical", "loopwright doctor"),
        ("stranger", "warning", "take it away"),
    ],
)
def test_a_gateway_s_trouble_is_told_until_it_says_no_more(serving: Loop, kind: str, severity: str, step: str) -> None:
    trouble = {"kind": kind, "message": "something is wrong", "since": serving.wall.at_us - SECOND_US}
    acknowledge(serving, troubles=[trouble, {**trouble, "project": "other"}])
    need = only(serving, "gateway")
    assert (need.severity, need.sentence) == (severity, "gateway gw_1: something is wrong")
    assert (need.event_at, need.recorded_at) == (None, trouble["since"])
    assert step in need.next_step
    acknowledge(serving)
    assert needs(serving) == []


def test_predictions_without_any_gateway_are_told(serving: Loop) -> None:
    assert needs(serving) == [], "none was ever there: predictions may be none of this server's business"
    acknowledge(serving)
    serving.wall.at_us += 11 * SECOND_US
    need = only(serving, "gateway")
    assert need.severity == "critical"
    assert need.sentence.startswith("no gateway is alive")
    acknowledge(serving)
    assert needs(serving) == []


def test_a_gateway_is_not_called_dead_while_it_cannot_be_written_that_it_lives(
    serving: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk it answers predictions, and its leases end all the same; so do they while a lock is held."""
    acknowledge(serving)
    serving.wall.at_us += 11 * SECOND_US
    database = serving.dispatcher.database
    database._doubts.failed(StorageFull("the disk is full", next_step="free space"))
    first, then = needs(serving)
    assert (first.kind, first.severity, first.next_step) == ("database", "critical", "free space")
    assert "nothing can be written" in first.sentence
    assert "the disk is full" in first.sentence
    assert (then.kind, then.severity) == ("gateway", "warning")
    assert then.sentence.startswith("whether a gateway is alive is not known since ")
    database._doubts.ended()
    assert "no gateway is alive" in only(serving, "gateway").sentence
    database._doubts.locked_out(Unavailable("another session holds it", next_step="end that session"))
    held = only(serving, "gateway")
    assert "is not known since" in held.sentence
    assert held.next_step == "end that session"
    monkeypatch.setattr(doubts, "LOCKED_OUT_S", -1.0)
    database._doubts.locked_out(Unavailable("another session holds it"))
    assert "no gateway is alive" in only(serving, "gateway").sentence, "that was long ago"


def test_a_view_that_holds_no_rows_is_filled_by_the_command_that_is_told(serving: Loop) -> None:
    trouble = {"kind": "store", "message": "the view recent that late reads holds no rows in the online store"}
    named = {"view": "recent", "plan_digest": "ab" * 32}
    acknowledge(serving, troubles=[{**trouble, **named, "since": serving.wall.at_us}])
    told = f"loopwright call features.start_materialize view=recent plan_digest={'ab' * 32}"
    assert only(serving, "gateway").command == told


@pytest.mark.parametrize(
    "words",
    [
        {"message": "lost", "next_step": "fill it: loopwright call features.start_materialize view=x $(id)"},
        {"message": "the view $(id) that late reads holds no rows in the online store"},
    ],
)
def test_no_command_is_made_of_what_a_gateway_says_in_words(serving: Loop, words: dict[str, str]) -> None:
    acknowledge(serving, troubles=[{"kind": "store", "since": serving.wall.at_us, **words}])
    assert only(serving, "gateway").command == "loopwright logs gateway"


@pytest.mark.parametrize("named", [{"view": "$(id)"}, {"view": "x y"}, {"view": "x", "plan_digest": "$(id)"}])
def test_a_gateway_names_what_to_fill_by_name_and_digest_alone(serving: Loop, named: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        acknowledge(serving, troubles=[{"kind": "store", "message": "lost", "since": 1, **named}])


def test_a_failure_of_what_nobody_declared_is_told_to_nobody(serving: Loop) -> None:
    acknowledge(serving, failures=[{**FAILURE, "deployment": "$(id)", "project": "flights"}])
    assert needs(serving) == []


def test_a_disk_that_runs_full_is_told_as_long_as_a_server_sees_it(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    room = {"free": 0.9e9}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=100e9, free=room["free"]))
    watch = DiskWatch(Path("state"), loop.dispatcher.database, loop.wall)
    watch.look()
    need = only(loop, "disk")
    since = need.recorded_at
    assert need.severity == "critical"
    assert "the disk of state" in need.sentence
    assert "has 0.9 of 100 GB left" in need.sentence

    loop.wall.at_us += 4 * MINUTE_US
    watch.look()
    assert only(loop, "disk").recorded_at == since, "it lasts"
    loop.wall.at_us += 6 * MINUTE_US
    assert needs(loop) == [], "whoever told of it is gone"
    watch.look()
    room["free"] = 50e9
    DiskWatch(Path("state"), loop.dispatcher.database, loop.wall).look()
    assert needs(loop) == [], "also to a server that has not told of it"


def test_the_list_is_cut_but_the_count_is_not(serving: Loop) -> None:
    for number in range(150):
        subject = f"flights/deployment:d{number}"
        serving.service("monitoring.raise_alert", subject=subject, kind="drift", message=f"m{number}")
    answer: Attention = serving("loop.attention", limit=20)
    assert (len(answer.needs), answer.total, answer.by_kind) == (20, 150, {"incident": 150})
