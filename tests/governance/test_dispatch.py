"""Calling verbs: permission, arguments, idempotency."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import msgspec
import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Actor, Dispatcher, audit, require_job, require_role
from loopwright.governance import sql as governance_sql
from loopwright.kernel.clock import DAY_US, FixedClock
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Bounds
from loopwright.store.work import KINDS, Power, kinds_with
from tests.databases import wait_for_rivals
from tests.waiting import wait_until


def test_a_verb_and_its_event_commit_together(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    made = call("tokens.create", actor="person:ana", role="viewer")
    newest = call("audit.list", limit=1)[0]
    assert newest.type == "tokens.created"
    assert newest.ref.endswith(made.token.token_id)
    assert dispatcher.database.read(audit.verify_chain) == newest.position


def test_a_failing_verb_leaves_nothing(call: Callable[..., Any]) -> None:
    before = call("audit.list")
    with pytest.raises(InvalidInput):
        call("tokens.create", actor="ana", role="viewer")
    assert call("audit.list") == before


def test_an_unknown_argument_names_the_nearest(call: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput, match="did you mean role"):
        call("tokens.create", actor="person:ana", rol="viewer")


def test_an_unknown_verb_names_the_nearest(call: Callable[..., Any]) -> None:
    with pytest.raises(NotFound, match=r"tokens\.create"):
        call("tokens.creat")


def test_a_viewer_may_not_create_tokens(dispatcher: Dispatcher) -> None:
    viewer = Actor("person:vi", {"flights": Role.VIEWER})
    with pytest.raises(PermissionDenied, match="at least admin"):
        dispatcher.call("tokens.create", {"actor": "person:x", "role": "viewer"}, actor=viewer, project="flights")


def test_a_role_in_one_project_is_none_in_another(dispatcher: Dispatcher) -> None:
    admin = Actor("person:ad", {"elsewhere": Role.ADMIN})
    with pytest.raises(PermissionDenied, match="an admin of the project"):
        dispatcher.call("audit.list", {}, actor=admin, project="flights")
    with pytest.raises(PermissionDenied, match="an admin of every project"):
        dispatcher.call("projects.create", {"name": "third"}, actor=admin, project=SYSTEM)


def test_an_admin_may_not_call_internal_verbs(dispatcher: Dispatcher) -> None:
    admin = Actor("person:ad", {"flights": Role.ADMIN})
    with pytest.raises(PermissionDenied):
        dispatcher.call("jobs.claim", {"worker": "w", "kinds": ["x"]}, actor=admin, project="flights")


def test_an_idempotency_key_runs_a_verb_once(dispatcher: Dispatcher) -> None:
    args = {"experiment": "late", "name": "first"}
    options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": "flights", "idempotency_key": "k1"}
    first = dispatcher.call("tracking.start_run", args, **options)
    assert dispatcher.call("tracking.start_run", args, **options) == first
    with pytest.raises(Conflict, match="another call"):
        dispatcher.call("tracking.start_run", {**args, "name": "second"}, **options)
    assert len(dispatcher.call("tracking.search_runs", {}, actor=LOCAL_ACTOR, project="flights")) == 1


def test_an_idempotency_key_of_somebody_else_answers_nothing(dispatcher: Dispatcher) -> None:
    args = {"experiment": "late", "name": "first"}
    options: dict[str, Any] = {"project": "flights", "idempotency_key": "k1"}
    dispatcher.call("tracking.start_run", args, actor=LOCAL_ACTOR, **options)
    with pytest.raises(Conflict, match="another call"):
        dispatcher.call("tracking.start_run", args, actor=Actor("person:eve", {"flights": Role.EDITOR}), **options)


def test_the_same_idempotency_key_from_many_threads_is_one_call(dispatcher: Dispatcher) -> None:
    args = {"experiment": "late", "name": "first"}
    options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": "flights", "idempotency_key": "k1"}
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: dispatcher.call("tracking.start_run", args, **options).run_id, range(8)))
    assert len(set(made)) == 1


def test_a_query_is_asked_anew_whatever_its_idempotency_key(dispatcher: Dispatcher) -> None:
    options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": "flights", "idempotency_key": "k1"}
    assert dispatcher.call("tracking.search_runs", {}, **options) == []
    dispatcher.call("tracking.start_run", {"experiment": "late"}, **options)
    assert len(dispatcher.call("tracking.search_runs", {}, **options)) == 1


def test_two_calls_of_one_key_at_once_are_one_although_they_would_collide(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = governance_sql.insert_project
    calls: list[Future[Any]] = []

    def insert_slowly(tx: Tx, *args: Any) -> None:
        insert(tx, *args)
        wait_until(lambda: len(calls) == 3)
        wait_for_rivals(tx.connection, calls[1:])  # of three alike, whichever came first waits for two

    monkeypatch.setattr(governance_sql, "insert_project", insert_slowly)
    options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": SYSTEM, "idempotency_key": "k1"}
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            calls.append(pool.submit(dispatcher.call, "projects.create", {"name": "new"}, **options))
    assert [call.result().name for call in calls] == ["new"] * 3


def test_a_call_that_failed_may_be_repeated_with_its_key(dispatcher: Dispatcher) -> None:
    options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": SYSTEM, "idempotency_key": "k1"}
    with pytest.raises(InvalidInput):
        dispatcher.call("projects.create", {"name": "new", "clock_at": "noon"}, **options)
    assert dispatcher.call("projects.create", {"name": "new"}, **options).name == "new"


def test_idempotency_keys_are_forgotten_after_a_month(dispatcher: Dispatcher, wall: FixedClock) -> None:
    args, options = {"experiment": "late"}, {"actor": LOCAL_ACTOR, "project": "flights"}
    first = dispatcher.call("tracking.start_run", args, idempotency_key="k1", **options)
    wall.at_us += 29 * DAY_US
    assert dispatcher.forget_old_keys(500) == 0
    assert dispatcher.call("tracking.start_run", args, idempotency_key="k1", **options) == first
    wall.at_us += 2 * DAY_US
    assert dispatcher.forget_old_keys(500) == 1
    assert dispatcher.call("tracking.start_run", args, idempotency_key="k1", **options) != first


def test_idempotency_keys_are_forgotten_some_at_a_time(dispatcher: Dispatcher, wall: FixedClock) -> None:
    """All at once would keep every other call waiting, for SQLite has one writer."""
    for number in range(5):
        key = {"idempotency_key": f"k{number}", "actor": LOCAL_ACTOR, "project": "flights"}
        dispatcher.call("tracking.start_run", {"experiment": "late"}, **key)
    wall.at_us += 31 * DAY_US
    assert [dispatcher.forget_old_keys(2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_secret_is_not_kept_for_an_idempotency_key(dispatcher: Dispatcher) -> None:
    args = {"actor": "person:ana", "role": "viewer"}
    options: dict[str, Any] = {"actor": LOCAL_ACTOR, "project": "flights", "idempotency_key": "k1"}
    secret = dispatcher.call("tokens.create", args, **options).secret
    with pytest.raises(Conflict, match="held a secret"):
        dispatcher.call("tokens.create", args, **options)
    with dispatcher.database.reading() as connection:
        assert secret not in str(store_sql.get_answer(connection, "flights", "k1"))


def test_numbers_beyond_64_bits_and_nul_are_refused_as_input(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput):
        call("audit.list", before=2**70)
    if not dispatcher.database.is_sqlite:
        with pytest.raises(InvalidInput):
            call("audit.list", ref="a\x00b")


def test_a_negative_limit_is_not_everything(call: Callable[..., Any]) -> None:
    for name in ("audit.list", "jobs.list"):
        with pytest.raises(InvalidInput):
            call(name, limit=-1)


def test_a_digest_seen_elsewhere_opens_nothing(dispatcher: Dispatcher) -> None:
    dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project=SYSTEM)
    dispatcher.write("other", LOCAL_ACTOR, lambda tx: tx.keep_blobs(BlobRef("a" * 64, 3)))
    ana = Actor("person:ana", {"flights": Role.EDITOR})
    run = dispatcher.call("tracking.start_run", {"experiment": "late"}, actor=ana, project="flights")
    args = {"run_id": run.run_id, "path": "stolen", "digest": "a" * 64, "size_bytes": 3}
    with pytest.raises(NotFound, match="no such blob"):
        dispatcher.call("tracking.log_artifact", args, actor=ana, project="flights")


def test_require_role_lets_stronger_roles_and_services_pass(dispatcher: Dispatcher) -> None:
    for role, passes in ((Role.EDITOR, False), (Role.APPROVER, True), (Role.ADMIN, True), (Role.SERVICE, True)):
        actor = Actor("person:ana", {"flights": role})
        ask = partial(dispatcher.read, "flights", actor, lambda tx: require_role(tx, Role.APPROVER, "do this"))
        if passes:
            ask()
        else:
            with pytest.raises(PermissionDenied, match="do this"):
                ask()


@pytest.mark.parametrize("power", get_args(Power))
def test_what_only_a_job_may_do_goes_with_its_kind_whatever_that_is_called(
    tx: Tx, power: Power, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list of names elsewhere has to be kept: the declaration of a kind says what its jobs may do."""

    def held(kind: str) -> Tx:
        return replace(tx, roles=frozenset({"flights"}), role=Role.SERVICE, bounds=Bounds("job", job_kind=kind))

    names = kinds_with(power)
    assert names, "no job could ever do it"
    for name in names:
        require_job(held(name), "do this", power)
        monkeypatch.setitem(KINDS, f"{name}_anew", msgspec.structs.replace(KINDS[name], name=f"{name}_anew"))
        monkeypatch.delitem(KINDS, name)
        require_job(held(f"{name}_anew"), "do this", power)
        for other in (name, "data.import", ""):
            with pytest.raises(PermissionDenied, match="may not do this") as told:
                require_job(held(other), "do this", power)
            assert f"{name}_anew" in str(told.value.rule)
