"""The end of a training is told once, whoever sends it how often."""

from loopwright.governance import SERVICE_ACTOR
from loopwright.loop.training.pipeline import finish_training
from loopwright.store.tx import Tx
from tests.loop.conftest import Loop


def test_an_end_that_is_sent_again_before_it_is_sealed_is_told_once(serving: Loop) -> None:
    """PostgreSQL seals after the commit: what looks for what has happened must not overlook what has just happened."""
    version = serving.register()

    def twice(tx: Tx) -> None:
        for _ in range(2):
            finish_training(tx, execution_id="exe_by_hand", model="late", version=version, passed=False)

    serving.dispatcher.write("flights", SERVICE_ACTOR, twice)
    serving.reactor.drain()
    told = serving("audit.list", ref=f"flights/model:late/{version}", type_prefix="loop.trained")
    assert [event.payload["execution_id"] for event in told] == ["exe_by_hand"]
