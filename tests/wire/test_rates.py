"""How many requests a caller may send."""

import pytest

from loopwright.wire.rates import MOST_BUCKETS, CallerRates, Rates, TooMany


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


def test_strangers_share_what_an_address_may_send_whatever_secrets_they_try() -> None:
    rates = CallerRates(1)
    rates.count("proved")
    for number in range(5):
        rates.check_unknown(f"guess {number}", "10.0.0.1")
        rates.count_stranger("10.0.0.1")
    for refused in (
        lambda: rates.check_unknown("another guess", "10.0.0.1"),
        lambda: rates.count_stranger("10.0.0.1"),
    ):
        with pytest.raises(TooMany, match="no valid token at this address"):
            refused()
    rates.check_unknown("proved", "10.0.0.1")  # whoever shares the address goes on
    rates.check_unknown("guess", "10.0.0.2")


def test_an_ipv6_network_is_one_address() -> None:
    rates = CallerRates(1)
    for number in range(5):
        rates.count_stranger(f"2001:db8::{number}")
    with pytest.raises(TooMany):
        rates.count_stranger("2001:db8::ffff:1")
    rates.count_stranger("2001:db8:0:1::1")
    rates.count_stranger("fe80::1%eth0")
    rates.count_stranger("")
