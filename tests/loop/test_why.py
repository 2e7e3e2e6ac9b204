"""Why: what stands behind a prediction as things stood when it was made."""

from loopwright.governance import LOCAL_ACTOR
from loopwright.kernel.clock import DAY_US
from loopwright.loop import OperationContext, Provenance
from loopwright.loop.why import why
from tests.loop.answering import answer
from tests.loop.conftest import Loop


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
