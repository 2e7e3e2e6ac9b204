"""The joints of the loop: which event is answered by what."""

import msgspec

from loopwright.governance import SERVICE_ACTOR, SYSTEM
from loopwright.kernel.clock import DAY_US, MINUTE_US
from tests.loop.conftest import LATE, Importer, Loop, end_job


def test_a_retrain_ends_as_its_rollout_ends(serving: Loop) -> None:
    serving.train(serving.retrain().execution_id)
    assert serving.retrains() == [("rolling_out", "version 2 rolls out")]
    serving.promote()
    assert serving.retrains() == [("promoted", "version 2 serves")]
    serving.train(serving.retrain().execution_id)
    serving("serving.abort", rollout_id=serving.rollout().rollout_id, reason="worse")
    assert serving.retrains()[0] == ("refused", "worse")


def test_a_cancelled_training_ends_its_retrain(serving: Loop) -> None:
    serving("pipelines.cancel", execution_id=serving.retrain().execution_id, reason="wrong rows")
    assert serving.retrains() == [("cancelled", "wrong rows")]
    assert serving.needs_person() == []
    assert serving.retrain().state == "training"


def test_a_failed_training_calls_for_a_person_and_goes_on_when_retried(serving: Loop) -> None:
    execution_id = serving.retrain().execution_id
    serving.service("pipelines.finish_execution", execution_id=execution_id, error={"message": "no rows"})
    assert serving.retrains() == [("failed", "no rows")]
    told = f"critical: pipeline fit failed: no rows (loopwright logs {execution_id})"
    assert serving.needs_person() == [told]
    assert [one.title for one in serving("monitoring.incidents")] == ["retrain failed: no rows"]
    serving("pipelines.retry", execution_id=execution_id)
    assert serving.retrains() == [("training", "")]
    serving.train(execution_id)
    assert serving.retrains() == [("rolling_out", "version 2 rolls out")]


def test_a_retried_training_does_not_join_a_later_retrain(serving: Loop) -> None:
    first = serving.retrain().execution_id
    serving.service("pipelines.finish_execution", execution_id=first, error={"message": "no rows"})
    serving.retrain()
    serving("pipelines.retry", execution_id=first)
    assert [state for state, _ in serving.retrains()] == ["training", "failed"]


def test_a_training_whose_workers_died_has_failed(serving: Loop) -> None:
    execution_id = serving.retrain().execution_id
    for _ in range(6):
        args = {"worker": "w", "kinds": ["pipelines.execute"]}
        serving.dispatcher.call("jobs.claim", args, actor=SERVICE_ACTOR, project=SYSTEM)
        serving.wall.at_us += MINUTE_US
    serving.reactor.drain()
    assert serving("pipelines.get", execution_id=execution_id).state == "failed"
    assert serving.retrains() == [("failed", "no worker survived it in 5 tries")]
    serving("pipelines.retry", execution_id=execution_id)
    assert serving("pipelines.get", execution_id=execution_id).state == "queued"


def test_the_end_of_an_earlier_round_is_not_the_end_of_the_next(serving: Loop) -> None:
    execution_id = serving.retrain().execution_id
    [job] = serving("jobs.list", kind="pipelines.execute", states=["queued"])
    serving.service("pipelines.finish_execution", execution_id=execution_id, error={"message": "no rows"})
    serving("pipelines.retry", execution_id=execution_id)
    end_job(serving, job, "jobs.fail", error={"message": "no rows"})
    assert serving("pipelines.get", execution_id=execution_id).state == "queued"


def test_a_version_that_cannot_be_rolled_out_is_refused_and_told(serving: Loop) -> None:
    by_hand = serving.train()
    execution_id = serving.retrain().execution_id
    serving.train(execution_id)
    assert serving.rollout().version == by_hand
    [(state, outcome)] = serving.retrains()
    assert state == "refused"
    assert "of version 2 is running on late" in outcome
    [line] = serving.needs_person()
    assert line.startswith("warning: version 3 is not rolled out: rollout")
    serving.promote()
    assert serving.retrains() == [(state, outcome)]
    assert serving.retrain().state == "training"


def test_one_deployment_that_refuses_does_not_hold_up_another(serving: Loop) -> None:
    serving.train()
    misfit = msgspec.structs.replace(LATE, name="misfit", task="regression", rollout=[])
    serving.apply(deployments=[LATE, misfit, msgspec.structs.replace(LATE, name="another")])
    serving.train()
    assert serving("serving.rollouts", deployment="misfit") == []
    assert serving("serving.status", deployment="another").champion == 3
    assert len(serving.needs_person()) == 2


def test_a_training_by_hand_leaves_the_live_retrain_alone(serving: Loop) -> None:
    record = serving.retrain()
    serving.train(passed=False, reason="roc_auc 0.5 is not at least 0.65")
    assert serving.retrains() == [("training", "")]
    serving.train(record.execution_id, passed=False, reason="roc_auc 0.6 is not at least 0.65")
    assert serving.retrains() == [("refused", "roc_auc 0.6 is not at least 0.65")]


def test_the_rollout_of_another_version_leaves_the_live_retrain_alone(serving: Loop) -> None:
    record = serving.retrain()
    version = serving.register()
    serving("loop.deploy", deployment="late", version=version, reason="a hotfix")
    assert serving.retrains() == [("training", "")]
    serving("serving.abort", rollout_id=serving.rollout().rollout_id, reason="worse")
    assert serving.retrains() == [("training", "")]
    serving.train(record.execution_id)
    serving("loop.rollback", deployment="late", reason="looks odd")
    assert serving.retrains() == [("refused", "rolled back: looks odd")]


def test_a_failed_import_needs_a_person_until_one_succeeds(serving: Loop, importer: Importer) -> None:
    def fail_import() -> None:
        rows = [importer.blobs.put(b"no rows")]
        job = serving("data.start_import", dataset="flights", operation="append", blobs=rows)
        end_job(serving, job, "jobs.fail", error={"message": "no such file"})

    fail_import()
    fail_import()
    serving.wall.at_us += 1
    [incident] = serving("monitoring.incidents")
    assert (incident.subject, incident.kind, incident.alerts) == ("flights/dataset:flights", "job", 2)
    assert incident.title == "data.import failed for good: no such file"
    importer.load()
    [resolved] = serving("monitoring.incidents")
    assert (resolved.state, resolved.resolution) == ("resolved", "data.import went well again")
    fail_import()
    [reopened] = serving("monitoring.incidents")
    assert reopened.state == "open"
    [failed] = serving("jobs.list", states=["failed"], limit=1)
    serving("jobs.retry", job_id=failed.job_id, reason="the file is there now")
    assert serving("monitoring.incidents")[0].state == "resolved"


def test_the_incident_of_a_window_that_was_never_measured_stays_until_somebody_dismisses_it(serving: Loop) -> None:
    serving.pass_time(DAY_US)
    [first] = serving("jobs.list", kind="monitoring.evaluate_window")
    end_job(serving, first, "jobs.fail", error={"message": "the gateway did not seal"})
    serving.pass_time(DAY_US)
    second = next(job for job in serving("jobs.list", kind="monitoring.evaluate_window") if job.state == "queued")
    end_job(serving, second, result={})
    assert [one.state for one in serving("monitoring.incidents")] == ["open"]
    serving("jobs.dismiss", job_id=first.job_id, reason="nobody flew")
    assert [one.state for one in serving("monitoring.incidents")] == ["resolved"]


def test_a_comparison_that_fails_is_told_to_who_asked_for_it(serving: Loop, importer: Importer) -> None:
    importer.load()
    importer.load()
    job = serving("data.start_diff", dataset="flights", before=1, after=2)
    end_job(serving, job, "jobs.fail", error={"message": "no rows"})
    assert serving("monitoring.incidents") == []


def test_an_execution_ends_with_its_cancelled_job(serving: Loop) -> None:
    execution_id = serving.retrain().execution_id
    [job] = serving("jobs.list", kind="pipelines.execute", states=["queued"])
    serving("jobs.cancel", job_id=job.job_id, reason="not today")
    assert serving("pipelines.get", execution_id=execution_id).state == "cancelled"
    assert serving.retrains()[0] == ("cancelled", "not today")
