"""How many requests a token may send."""

import pytest

from loopwright.server.auth.rates import MOST_BUCKETS, Rates, TooMany
from tests.server.site import Site


class Now:
    at_s = 0.0

    def __call__(self) -> float:
        return self.at_s


def test_a_bucket_empties_with_requests_and_fills_with_time() -> None:
    now = Now()
    rates = Rates(2, 5.0, now)
    for _ in range(10):
        rates.take("ana")
    with pytest.raises(TooMany) as told:
        rates.take("ana")
    assert told.value.details == {"retry_after_s": 1}
    rates.take("ben")  # others are not held up
    now.at_s = 0.5
    rates.take("ana")
    with pytest.raises(TooMany):
        rates.take("ana")


def test_the_memory_of_who_sends_is_bounded() -> None:
    rates = Rates(1, 1.0, Now())
    for number in range(3 * MOST_BUCKETS):
        rates.take(str(number))
    assert len(rates._buckets) == MOST_BUCKETS


def test_without_a_limit_nothing_is_counted() -> None:
    rates = Rates(0)
    for _ in range(10_000):
        rates.take("ana")
    assert not rates._buckets


def test_who_sends_too_much_is_told_when_to_come_back_and_others_are_answered(guarded: Site) -> None:
    gatekeeper = guarded.context.gatekeeper
    kept, gatekeeper._rates = gatekeeper._rates, Rates(0.01, 300.0)
    try:
        answers = [guarded.call("data.list", "viewer") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[3].json()["error"]["code"] == "too_many_requests"
        assert int(answers[3].headers["retry-after"]) > 0
        with guarded.http("viewer") as http:
            assert http.get("/metrics").status_code == 429
        assert guarded.call("data.list", "editor").status_code == 200
        assert [guarded.call("data.list", "service").status_code for _ in range(4)] == [200] * 4
    finally:
        gatekeeper._rates = kept
