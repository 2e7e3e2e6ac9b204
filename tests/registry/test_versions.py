"""Model versions: numbered once, never changed, with their lineage."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.store.sql import find_blob
from loopwright.store.types import BlobRef, Bounds
from loopwright.store.work import kinds_with

Call = Callable[..., Any]


def parts(**changed: Any) -> dict[str, Any]:
    return {
        "model": "late",
        "flavour": "constant",
        "files": [{"path": "constant.json", "digest": "a" * 64, "size_bytes": 9}],
        "signature": {"inputs": [{"name": "x", "kind": "number"}], "task": "binary", "classes": ["0", "1"]},
        **changed,
    }


def test_a_version_keeps_everything_and_its_lineage(call: Call, dispatcher: Dispatcher) -> None:
    first = call("registry.register", **parts(metrics={"roc_auc": 0.7, "odd": None, "bad": float("nan")}))
    run = call("tracking.start_run", experiment="fit", name="first").run_id
    dispatcher.write("flights", SERVICE_ACTOR, lambda tx: tx.keep_blobs(BlobRef("c" * 64, 3)))
    second = call("registry.register", **parts(run=run, code_digest="c" * 64, refit_of=1, service="late"))
    assert (first.version, second.version) == (1, 2)
    assert first.metrics == {"roc_auc": 0.7}
    assert first.digest == second.digest
    assert second.run == f"flights/run:{run}"
    assert call("registry.get_version", model="late") == second
    assert call("registry.get_version", model="late", version=1) == first
    assert call("registry.versions", model="late") == [second, first]
    assert call("registry.versions", model="late", before=2) == [first]
    edges = {(edge.relation, edge.parent) for edge in call("lineage.upstream", ref="flights/model:late/2")}
    assert edges == {
        ("made_by", f"flights/run:{run}"),
        ("built_from", f"flights/code:{'c' * 64}"),
        ("refit_of", "flights/model:late/1"),
    }
    assert dispatcher.database.read(lambda connection: find_blob(connection, "flights", "a" * 64)) is not None
    event = call("audit.list", limit=1)[0]
    assert (event.type, event.ref) == ("registry.version_registered", "flights/model:late/2")


def test_levels_are_those_that_the_model_was_fitted_on_however_they_read(call: Call) -> None:
    carrier = {"name": "carrier", "kind": "category", "categories": ["A\0A", "UA"]}
    signature = {"inputs": [carrier], "task": "multiclass", "classes": ["late\0", "on time"]}
    call("registry.register", **parts(signature=signature))
    known = call("registry.get_version", model="late").signature
    assert (known.inputs[0].categories, known.classes) == (["A\0A", "UA"], ["late\0", "on time"])


@pytest.mark.parametrize(
    "claimed", [{"run": "run_1"}, {"training_set": "training_set:late/3"}, {"code_digest": "c" * 64}]
)
def test_what_the_platform_trained_rests_on_what_is_there(call: Call, claimed: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        call("registry.register", **parts(**claimed))
    assert call("registry.models") == []


def test_nobody_but_the_platform_says_that_it_trained_something(dispatcher: Dispatcher) -> None:
    """Gates, approvals and ``why`` rest on the lineage of a trained version."""
    for actor in (LOCAL_ACTOR, Actor("person:ed", {"flights": Role.EDITOR})):
        with pytest.raises(PermissionDenied):
            dispatcher.call("registry.register", parts(), actor=actor, project="flights")
    imported = {**parts(), "reason": "by hand"}
    for name in ("run", "training_set", "code_digest", "refit_of", "source"):
        with pytest.raises(InvalidInput, match=f"knows no argument {name}"):
            dispatcher.call("registry.import_model", {**imported, name: "x"}, actor=LOCAL_ACTOR, project="flights")


def test_a_job_registers_what_its_project_has(dispatcher: Dispatcher, call: Call) -> None:
    """The files of a trained model are user code's word: the digest of another project's blob opens nothing."""
    bounds = Bounds("job", job_id="job_1", job_kind=kinds_with("register_trained")[0])
    job = Actor(SERVICE_ACTOR.name, {"flights": Role.SERVICE}, bounds)
    with pytest.raises(NotFound, match="no such file"):
        dispatcher.call("registry.register", parts(), actor=job, project="flights")
    assert call("registry.models") == []
    dispatcher.call("blobs.keep", {"blobs": [{"digest": "a" * 64, "size_bytes": 9}]}, actor=job, project="flights")
    assert dispatcher.call("registry.register", parts(), actor=job, project="flights").version == 1


def test_a_token_registers_once(call: Call) -> None:
    first = call("registry.register", **parts(idempotency="execution-1"))
    assert call("registry.register", **parts(idempotency="execution-1")) == first
    other = [{"path": "constant.json", "digest": "b" * 64, "size_bytes": 9}]
    with pytest.raises(Conflict, match="another artifact"):
        call("registry.register", **parts(idempotency="execution-1", files=other))
    assert call("registry.register", **parts(idempotency="execution-2")).version == 2
    assert call("registry.models")[0].versions == 2


@pytest.mark.parametrize(
    ("changed", "error", "field"),
    [
        ({"flavour": "pickle"}, InvalidInput, "flavour"),
        ({"model": "../late"}, InvalidInput, "model"),
        ({"files": []}, InvalidInput, "files"),
        ({"files": [{"path": "../x", "digest": "a" * 64, "size_bytes": 1}]}, InvalidInput, "files"),
        ({"files": [{"path": "/x", "digest": "a" * 64, "size_bytes": 1}]}, InvalidInput, "files"),
        ({"files": [{"path": "x", "digest": "../a", "size_bytes": 1}]}, InvalidInput, "files"),
        ({"refit_of": 7}, NotFound, "version"),
        ({"signature": {"inputs": [], "task": "magic"}}, InvalidInput, "signature"),
    ],
)
def test_wrong_parts_are_refused_and_take_no_number(call: Call, changed: Any, error: Any, field: str) -> None:
    with pytest.raises(error) as caught:
        call("registry.register", **parts(**changed))
    assert caught.value.field == field
    assert call("registry.models") == []


@pytest.mark.parametrize("version", [2**31, 2**62, -(2**40)])
def test_no_number_is_too_large_to_be_unknown(call: Call, version: int) -> None:
    call("registry.register", **parts())
    for verb, more in (("registry.get_version", {}), ("registry.set_alias", {"alias": "champion"})):
        with pytest.raises(NotFound):
            call(verb, model="late", version=version, **more)


def test_an_unknown_version_is_named_with_those_there_are(call: Call) -> None:
    with pytest.raises(NotFound, match="loopwright start"):
        call("registry.get_version", model="late")
    call("registry.register", **parts())
    with pytest.raises(NotFound, match=r"late has version 1$"):
        call("registry.get_version", model="late", version=2)
    call("registry.register", **parts(metrics={"roc_auc": 0.8}))
    with pytest.raises(NotFound, match=r"late has versions 1 to 2$"):
        call("registry.get_version", model="late", version=99)
    with pytest.raises(NotFound, match="champion"):
        call("registry.get_version", model="late", alias="champion")
    with pytest.raises(NotFound, match=r"models with versions: late$"):
        call("registry.get_version", model="later")


def test_registering_at_once_gives_each_its_own_number(dispatcher: Dispatcher) -> None:
    def register(number: int) -> int:
        args = parts(idempotency=f"t{number % 8}")
        return int(dispatcher.call("registry.register", args, actor=SERVICE_ACTOR, project="flights").version)

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(register, range(16)))
    assert sorted(set(numbers)) == list(range(1, 9))
    assert numbers[:8] == numbers[8:]


def test_an_import_says_where_it_comes_from(call: Call) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        call("registry.import_model", **parts(reason=" "))
    version = call("registry.import_model", **parts(reason="from the old system"))
    assert version.source == "imported"
    event = call("audit.list", type_prefix="registry.model_imported")[0]
    assert event.reason == "from the old system"
