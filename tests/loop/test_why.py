"""Why: what stands behind a prediction as things stood when it was made."""

from loopwright.governance import LOCAL_ACTOR
from loopwright.kernel.clock import DAY_US
from loopwright.loop import OperationContext, Provenance
from loopwright.loop.why import why
from tests.loop.answering import answer
from tests.loop.conftest import Importer, Loop


def ask(loop: Loop, prediction_id: str) -> Provenance:
    context = OperationContext(
        loop.dispatcher, loop.blobs, loop.reactor, lambda seen, _s: seen + 1, "", "flights", LOCAL_ACTOR
    )
    return why(context, prediction_id=prediction_id)


def said(found: Provenance, kind: str) -> list[str]:
    return [node.sentence for node in found.nodes if node.kind == kind]


def pass_gates(loop: Loop, version: int) -> None:
    evidence = {"model": "late", "version": version, "rows": 900, "metrics": {}, "intervals": {}, "overlap_rows": 0}
    evidence |= {"champion": None, "champion_metrics": None, "champion_overlap_rows": 0, "latency_p99_ms": None}
    result = {"gate": {"kind": "at_least", "args": {}}, "verdict": "passed", "message": "good"}
    loop.service(
        "registry.record_gates",
        model="late",
        version=version,
        results=[result],
        evidence={**evidence, "quarantined": []},
    )


def test_who_let_a_version_in_later_is_not_named_for_an_earlier_answer(serving: Loop) -> None:
    version = serving.train(reason="Ana wants it")
    pass_gates(serving, version)
    serving.promote()
    early = answer(serving, 1)
    serving.pass_time(DAY_US)
    serving("loop.rollback", deployment="late", reason="it was worse")
    serving.pass_time(DAY_US)
    serving("loop.deploy", deployment="late", version=version, reason="Bob wants it", force_reason="Bob insists")
    serving.promote()
    late = answer(serving, 2)
    assert "Ana wants it" in said(ask(serving, early), "rollout")[0]
    assert "Bob wants it" in said(ask(serving, late), "rollout")[0]
    assert "forced" not in said(ask(serving, early), "gates")[0]
    assert "Bob insists" in said(ask(serving, late), "gates")[0]


def test_what_was_deleted_since_is_told_with_when_and_by_whom(loop: Loop, importer: Importer) -> None:
    importer.load()
    importer.load("replace")
    blob, plan = loop.blobs.put(b"joined"), loop("features.freeze_plan", service="late")
    spec = {"service": "late", "dataset_versions": {"flights": 1}, "start_at": None, "end_at": 9, "known_by": 9}
    facts = {"rows": 3, "plan_digest": plan, "event_at_min": 1, "event_at_max": 9}
    loop.service("features.record_training_set", spec=spec, blob=blob, **facts)
    run = loop("tracking.start_run", experiment="fit", execution_id="x").run_id
    loop("tracking.finish_run", run_id=run)
    version = loop.register(run=run, training_set="training_set:late/1")
    facts = {"execution_id": "x", "model": "late", "version": version, "passed": True, "reason": "it ran"}
    loop.service("loop.finish_training", **facts)
    prediction_id = answer(loop, 1)
    before = ask(loop, prediction_id)
    loop("serving.retire", deployment="late", reason="over")
    loop("registry.remove_alias", model="late", alias="champion", reason="over")
    gone = ["model:late/1", f"run:{run}", "training_set:late/1", "dataset:flights/1"]
    for ref in gone:
        loop("deletion.delete", ref=ref, reason="the study is over")
        assert [node.ref for node in ask(loop, prediction_id).nodes] == [node.ref for node in before.nodes]
    found = ask(loop, prediction_id)
    assert found.edges == before.edges
    for ref in gone:
        sentence = next(node.sentence for node in found.nodes if node.ref == f"flights/{ref}")
        assert "was deleted at 2013-" in sentence
        assert "by person:local: the study is over." in sentence


def test_a_row_scored_in_a_batch_is_followed_to_the_version_that_scored_it(serving: Loop) -> None:
    version = serving.train()
    rows = serving.blobs.put(b"rows")
    job = serving("serving.start_score", deployment="late", input=rows, version=version)
    prediction_id = answer(serving, 1, variant="score", model_version=version, writer=f"score:{job.job_id}")
    found = ask(serving, prediction_id)
    assert ask(serving, f"flights/prediction:{prediction_id}") == found
    assert "Scored in a batch by version 2 of late" in said(found, "score")[0]
    assert said(found, "model") == ["Version 2 of late (constant)."]
    assert not said(found, "release")
