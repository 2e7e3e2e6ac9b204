"""What declaring returns."""

import loopwright as lw
from loopwright.client.handles import Column


def double(rows: int) -> int:
    return rows * 2


def test_handles_name_what_was_declared() -> None:
    p = lw.Project("handled")
    trips = p.dataset("trips", lw.source.push(), key="trip_id")
    assert trips["km"] == Column("trips", "km")
    asked = p.on_request(inputs=["km"], outputs=["km"])(double)
    assert asked(2) == 4
    service = p.feature_service("near", [asked], label=trips["km"], task="binary")
    made = p.train(model="near", inputs=service)(double)
    assert made(3) == 6
    watched = p.external("elsewhere", task="binary", personal=["age"])
    assert (watched.spec.is_external, watched.spec.personal) == (True, ["age"])
