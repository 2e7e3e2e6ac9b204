"""Ids that follow from a key and its request, whoever makes them."""

import pytest

from loopwright.gateway.stamps import AHEAD_US, BEHIND_US, Stamp
from loopwright.kernel.ids import parse_id

AT_US = 1_772_366_400_000_000
KEY, OTHER_KEY = "key_01KJMMA2G00ABZJBRV1X53YG00", "key_01KJMMA2G013QASE8R78QVDG00"


@pytest.mark.parametrize("later_us", [-AHEAD_US, 0, BEHIND_US])
def test_a_key_that_names_its_moment_makes_the_same_ids_later_and_elsewhere(later_us: int) -> None:
    first = Stamp.of_request("flights", KEY, b"digest", AT_US)
    again = Stamp.of_request("flights", KEY, b"digest", AT_US + later_us)
    assert again.ids("pred", 3) == first.ids("pred", 3)
    assert again.at_us == AT_US + later_us, "when it was recorded is its own"
    assert parse_id(first.ids("pred", 1)[0], "pred")[1] == AT_US


@pytest.mark.parametrize(
    ("project", "key", "digest"),
    [("other", KEY, b"digest"), ("flights", OTHER_KEY, b"digest"), ("flights", KEY, b"another body")],
)
def test_another_request_gets_other_ids(project: str, key: str, digest: bytes) -> None:
    first = Stamp.of_request("flights", KEY, b"digest", AT_US)
    assert Stamp.of_request(project, key, digest, AT_US).base != first.base


@pytest.mark.parametrize(
    ("key", "at_us"), [("order-17", AT_US), (KEY, AT_US + BEHIND_US + 1), (KEY, AT_US - AHEAD_US - 1000)]
)
def test_a_key_without_a_moment_of_now_settles_nothing(key: str, at_us: int) -> None:
    first, again = (Stamp.of_request("flights", key, b"digest", at_us) for _ in range(2))
    assert first.base != again.base
    assert parse_id(first.ids("pred", 1)[0])[1] == at_us // 1000 * 1000
