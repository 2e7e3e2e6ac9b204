"""What one project's code puts into a Redis changes nothing for another, and goes with its project."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from loopwright.features import bind_views
from loopwright.features.online import OnlineStores, redis_server, stores
from loopwright.features.online.redis import RedisOnlineStore
from loopwright.features.online.redis_server import SECRET, projects, remove, restricted_url
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import check_name
from tests.redis_server import running_redis


@pytest.fixture
def code(empty_redis: str) -> Iterator[Any]:
    """A client with what user code of the project ``p`` is given."""
    redis = pytest.importorskip("redis")
    client = redis.Redis.from_url(restricted_url(empty_redis, "p"), protocol=2)
    yield client
    client.close()


def test_names_that_are_none_of_ours_are_passed_over(small: Any, code: Any, empty_redis: str) -> None:
    for project in "pq":
        RedisOnlineStore(f"{empty_redis}#{project}").push(
            [bind_views(small.plan, project)[1]], small.flights([("F1", 1, 2, "UA", "JFK", 30.0)])
        )
    code.sadd(b"lw:{p}:\xff}:v", "x")
    code.sadd("lw:{p}:v}:v", "x")
    code.sadd("lw:{p}:v", b"\xff", "other/view@1", "p/more@1")
    for name in (b"\xff" * 16, b"z" * (1 << 20), b"", b"0123456789abcde"):
        code.hset("lw:{p}:i", "name", name)
        assert len(RedisOnlineStore(f"{empty_redis}#p").try_out().name) == 16
    code.hset("lw:{p}:b:p/more@1", b"\xff", b"\xff")
    code.hset("lw:{p}:g", "p/more@1", b"\xff\t\xfe")
    store = RedisOnlineStore(f"{empty_redis}#p")
    assert store.upkeep.view_keys("p") == {bind_views(small.plan, "p")[1].key, "p/more@1"}
    assert store.held(["p/more@1"]) == {}
    code.sadd("lw:{p}:f:p/more@1", b"\xff", f"@{store.try_out().name}")
    code.hset("lw:{p}:g", "p/more@1", "p/more@1\t")
    assert len(store.filled("p/more@1")) == 1
    assert projects(empty_redis) == {"p", "q"}
    OnlineStores(Path("unused"), empty_redis).remove({"q"})
    assert projects(empty_redis) == {"p"}
    store.close()


def test_everything_of_a_project_goes_with_it_and_its_user_first(code: Any, empty_redis: str) -> None:
    import redis

    platform = redis.Redis.from_url(empty_redis)
    code.hset("lw:{p}:kept", "passenger", "name and address")
    code.hset("lw:{p}:b:p/view@1", "e", "row")
    platform.hset("lw:{p2}:b:p2/view@1", "e", "row")
    assert projects(empty_redis) == {"p", "p2"}, "whatever it holds of them"
    remove(empty_redis, "p")
    assert platform.keys("lw:{p}*") == []
    assert platform.keys("lw:{p2}*") != []
    with pytest.raises(redis.exceptions.RedisError):
        code.hset("lw:{p}:kept", "passenger", "name and address")
    assert b"lw-p" not in platform.execute_command("ACL", "USERS")


def test_a_user_that_a_gateway_makes_again_late_goes_too(code: Any, empty_redis: str, tmp_path: Path) -> None:
    import redis

    platform, stores = redis.Redis.from_url(empty_redis), OnlineStores(tmp_path, empty_redis)
    code.hset("lw:{p}:b:p/view@1", "e", "row")
    stores.remove({"p"})
    stores.address_for_code("p")
    assert stores.projects() == {"p"}
    stores.remove({"q"})
    assert b"lw-p" in platform.execute_command("ACL", "USERS")
    stores.remove({"p"})
    assert b"lw-p" not in platform.execute_command("ACL", "USERS")
    assert stores.projects() == set()


def test_whoever_may_make_no_users_removes_keys_all_the_same(empty_redis: str) -> None:
    import redis

    platform = redis.Redis.from_url(empty_redis)
    platform.execute_command("ACL", "SETUSER", "plain", "reset", "on", ">sesame2", "~*", "+@all", "-acl")
    platform.hset("lw:{p}:b:p/view@1", "e", "row")
    try:
        remove(empty_redis.replace("//:sesame@", "//plain:sesame2@"), "p")
    finally:
        platform.execute_command("ACL", "DELUSER", "plain")
    assert platform.keys("lw:{p}*") == []


def test_what_user_code_is_given_tells_nothing_of_the_platforms_password(empty_redis: str, tmp_path: Path) -> None:
    import redis

    given = restricted_url(empty_redis, "p")
    with running_redis(tmp_path) as url:
        other = restricted_url(url, "p")
        assert restricted_url(url, "p") == other, "two gateways give the same"
    assert urlsplit(given).password != urlsplit(other).password, "of the same password of the platform"
    platform, raw = redis.Redis.from_url(empty_redis), redis.Redis.from_url(given)
    for attempt in (lambda: raw.get(SECRET), lambda: raw.hget(SECRET, "x"), lambda: raw.hstrlen(SECRET, "x")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            attempt()
    platform.flushall()
    platform.execute_command("ACL", "DELUSER", "lw-p")
    assert restricted_url(empty_redis, "p") == given, "code that runs goes on where a Redis lost what it held"
    own = redis_server._kept_secret(platform, f"{empty_redis}?of=a-process-that-starts-later")
    assert own == redis_server._kept_secret(platform, empty_redis)
    assert projects(empty_redis) == {"p"}, "a secret is of no project"


def test_to_try_it_out_takes_the_name_of_no_project(empty_redis: str, tmp_path: Path) -> None:
    import redis

    platform = redis.Redis.from_url(empty_redis)
    platform.execute_command("ACL", "SETUSER", "lw-loopwright-doctor", "reset", "on")
    platform.hset("lw:{loopwright-doctor}:b:x", "e", "row")
    OnlineStores(tmp_path, empty_redis).try_out()
    assert platform.hget("lw:{loopwright-doctor}:b:x", "e") == b"row"
    users = platform.execute_command("ACL", "USERS")
    assert b"lw-loopwright-doctor" in users
    platform.execute_command("ACL", "DELUSER", "lw-loopwright-doctor")
    with pytest.raises(InvalidInput):
        check_name(stores._PROBE)
    assert platform.keys(f"lw:{{{stores._PROBE}}}*") == []
    assert f"lw-{stores._PROBE}".encode() not in users
