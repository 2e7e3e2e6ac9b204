"""Traffic is split by a stable number, so a caller stays where it was while a rollout grows."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.gateway.answering.router import Router, bucket_of
from loopwright.registry import Signature
from loopwright.serving import Variant


def variants(weight: float, *, is_shadow: bool = False) -> list[Variant]:
    signature = Signature([], "binary")
    champion = Variant("champion", "late", 1, "constant", [], signature, 1 - weight)
    candidate = Variant("candidate", "late", 2, "constant", [], signature, weight, is_shadow)
    frozen = Variant("frozen", "late", 1, "constant", [], signature, 0.0, True)
    return [champion, candidate, frozen]


@given(st.text(max_size=20), st.floats(0.01, 0.98), st.floats(0.0, 1.0))
def test_a_caller_never_leaves_the_candidate_while_its_weight_grows(key: str, weight: float, more: float) -> None:
    bucket = bucket_of("late", "flights", key)
    assert 0 <= bucket < 1
    before = Router(variants(weight)).pick(bucket)
    after = Router(variants(weight + more * (0.99 - weight))).pick(bucket)
    assert before in (0, 1)
    assert (before, after) != (1, 0)


def test_shares_are_as_weighted() -> None:
    router = Router(variants(0.25))
    picked = [router.pick(bucket_of("late", "flights", str(number))) for number in range(20_000)]
    assert abs(picked.count(1) / 20_000 - 0.25) < 0.01


def test_shadows_and_weights_of_zero_take_no_traffic() -> None:
    assert Router(variants(0.0, is_shadow=True)).live == [0]
    assert Router(variants(0.0)).live == [0]
    assert Router(variants(1.0)).live == [1]


def test_deployments_split_independently() -> None:
    assert bucket_of("a", "p", "key") != bucket_of("b", "p", "key") != bucket_of("b", "q", "key")
