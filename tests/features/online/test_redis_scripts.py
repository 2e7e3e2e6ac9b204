"""What user code may have a Redis do: a bounded piece of work at a time, of a store's own commands."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from loopwright.features import bind_views
from loopwright.features.online import Part
from loopwright.features.online.redis import RedisOnlineStore
from loopwright.features.online.redis_scripts import SCRIPTS
from loopwright.features.online.redis_server import restricted_url
from loopwright.kernel.clock import HOUR_US

OF_P = "lw:{p}:"
_pack = msgspec.msgpack.encode


@pytest.fixture
def code(empty_redis: str) -> Iterator[Any]:
    """A client with what user code of the project ``p`` is given."""
    redis = pytest.importorskip("redis")
    client = redis.Redis.from_url(restricted_url(empty_redis, "p"), protocol=2)
    yield client
    client.close()


def run(client: Any, name: str, *args: Any, of_project: str = OF_P, key: str = f"{OF_P}g") -> Any:
    return client.evalsha(hashlib.sha1(SCRIPTS[name].encode()).hexdigest(), 1, key, of_project, *args)


def test_only_commands_that_end_soon_are_open_to_it(code: Any) -> None:
    import redis

    code.hset(f"{OF_P}b:x", "e", "body")
    code.sadd(f"{OF_P}v", "x")
    for attempt in (
        lambda: code.hscan(f"{OF_P}b:x", 0, match="*a" * 100),
        lambda: code.hmget(f"{OF_P}b:x", ["e"] * 100),
        lambda: code.smembers(f"{OF_P}v"),
        lambda: code.srem(f"{OF_P}v", "x"),
        lambda: code.unlink(f"{OF_P}v"),
        lambda: code.hdel(f"{OF_P}b:x", "e"),
        lambda: code.hgetall(f"{OF_P}b:x"),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            attempt()


@pytest.mark.parametrize("generation", ["x", "x" * 2_000_000])
def test_what_a_script_reads_hashes_and_writes_is_added_up_before(code: Any, empty_redis: str, generation: str) -> None:
    import redis

    body = b"x" * (4 << 20 if generation == "x" else 1)
    code.hset(f"{OF_P}b:{generation}", "e", body)
    code.hset(f"{OF_P}g", "v", f"{generation}\t")
    digest = hashlib.sha1(body).hexdigest()
    platform = redis.Redis.from_url(empty_redis)
    before = platform.info("commandstats")
    for name, args in (
        ("drop_bodies", (generation, _pack([("e", "0")] * 60))),
        ("write", ("", 0, 60, *[generation, "e", digest, ""] * 60, 0)),
        ("look_up", (_pack([("v", ["e"] * 60)]),)),
        ("look_up", (_pack([("v", ["e"])] * 60),)),
        ("read", (_pack([("v", ["e"] * 60)]),)),
    ):
        with pytest.raises(redis.exceptions.ResponseError, match="TOOMUCH"):
            run(code, name, *args)
    after = platform.info("commandstats")
    read = [each.get("cmdstat_hget", {"calls": 0})["calls"] for each in (before, after)]
    assert read[1] - read[0] < 5 * 20, "it stops as soon as the bound is met"


def test_many_small_pieces_are_too_much_too(code: Any) -> None:
    import redis

    for name, args in (
        ("look_up", (_pack([("v", [])] * 6_000),)),
        ("look_up", (_pack([("v", ["e"] * 6_000)]),)),
        ("read", (_pack([("v", [])] * 6_000),)),
        ("drop_bodies", ("x", _pack([("e", "0")] * 6_000))),
        ("write", ("", 0, 6_000, *["x", "e", "", ""] * 6_000, 0)),
        ("write", ("", 0, 0, 20_000, *["x", "e"] * 20_000)),
        ("look_up", (b"\xdd\x00\x60\x00\x00" + b"\x01" * (6 << 20),)),
    ):
        with pytest.raises(redis.exceptions.ResponseError, match="TOOMUCH"):
            run(code, name, *args)
    for of_project, key in (("x" * 1_000, f"{OF_P}g"), (OF_P, f"{OF_P}{'x' * 1_000}")):
        with pytest.raises(redis.exceptions.ResponseError, match="TOOMUCH"):
            run(code, "try_out", "a" * 16, of_project=of_project, key=key)


def test_what_is_much_for_one_script_is_done_by_several(small: Any, empty_redis: str) -> None:
    """A push of more entities than one script takes is merged, logged once and looked up."""
    view, commits, n = bind_views(small.plan, "p")[1], [], 6_000
    store = RedisOnlineStore(f"{empty_redis}#p")
    rows = small.flights([(f"F{place}", 1, 2, f"C{place}", "JFK", 30.0) for place in range(n)])
    assert store.push_together([Part([view], rows)], None, lambda: commits.append(1)).changed == n
    assert commits == [1]
    names = [f"C{place}" for place in range(n)]
    found = store.lookup([view], {"carrier": names}, [3 * HOUR_US] * n)
    assert found.columns["carrier_landed_3h"].sum() == n
    assert store.fill(view, rows[:1], [f"{place:064}" for place in range(12_000)], 24 * HOUR_US).rows == 1
    assert len(store.filled(view.key)) == 12_000
    store.close()


def test_a_script_that_runs_again_changes_nothing(small: Any, empty_redis: str) -> None:
    """A client that hears no answer sends it again, whoever pushed meanwhile."""
    view = bind_views(small.plan, "p")[1]
    store = RedisOnlineStore(f"{empty_redis}#p")
    generation = store.grow(view.key)
    store.push([view], small.flights([("F1", 1, 2, "UA", "JFK", 30.0)]))
    store._at.run("grow", generation)
    for entities in (1, 0):
        assert store.switch(generation) == entities
    found = store.lookup([view], {"carrier": ["UA"]}, [24 * HOUR_US])
    assert found.columns["carrier_landed_1d"].tolist() == [1]
    store.close()
