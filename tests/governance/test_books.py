"""Books: the tables that give power hold what the events say, row by row."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Dispatcher, approvals, audit
from loopwright.governance.audit import LogReport
from loopwright.governance.checkpoints import Checkpoints
from loopwright.kernel.documents import digest_bytes
from loopwright.registry import ModelFile, Signature
from loopwright.serving import DeploymentSpec
from loopwright.store.shelves import open_shelf

PLATFORM: dict[str, Any] = {"actor": SERVICE_ACTOR, "project": "flights"}


@pytest.fixture
def verify(dispatcher: Dispatcher, tmp_path: Any) -> Callable[[], LogReport]:
    place = Checkpoints(open_shelf(str(tmp_path / "none"), "checkpoint"), [], "")

    def run() -> LogReport:
        dispatcher.database.seal()
        with dispatcher.database.reading() as connection:
            return audit.verify_log(connection, place, [])

    return run


def model_of(body: bytes) -> dict[str, Any]:
    files = [ModelFile("model.json", digest_bytes(body), len(body))]
    return {"flavour": "constant", "files": files, "signature": Signature([], "binary")}


@pytest.fixture
def power(dispatcher: Dispatcher, call: Callable[..., Any]) -> None:
    """Rows of every table that gives power: tokens, an approval, versions, an alias, a deployment."""
    call("tokens.create", actor="person:ana", role="viewer", expires_in="9d")
    ended = call("tokens.create", actor="person:bo", role="editor")
    call("tokens.revoke", token_id=ended.token.token_id, reason="left")
    call("tokens.create", actor="person:ad", role="admin", every_project=True)
    for number in range(2):
        call("registry.import_model", model="late", reason="elsewhere", **model_of(b"model %d" % number))
    call("registry.set_alias", model="late", alias="champion", version=1)
    call("registry.set_alias", model="late", alias="old", version=1)
    call("registry.remove_alias", model="late", alias="old")
    call("serving.declare", spec=DeploymentSpec("late", "late", "binary"))
    dispatcher.call("serving.release", {"deployment": "late", "champion": 1, "reason": "go"}, **PLATFORM)
    call("serving.retire", deployment="late", reason="gone")
    call("registry.force_gates", model="late", version=2, reason="I say so")


def test_what_verbs_wrote_holds(verify: Callable[[], LogReport], power: None) -> None:
    report = verify()
    assert (report.problems, report.mismatches) == ([], [])
    assert report.events > 8


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE tokens SET role = 'admin' WHERE actor = 'person:ana'", "role is 'admin', but 'viewer'"),
        ("UPDATE tokens SET revoked_at = NULL", "revoked_at is None, but set by tokens.revoked"),
        ("UPDATE tokens SET secret_digest = 'x' WHERE actor = 'person:ana'", "fingerprint is"),
        ("UPDATE tokens SET expires_at = NULL WHERE actor = 'person:ana'", "expires_at is None"),
        ("UPDATE tokens SET project_id = '*' WHERE actor = 'person:ana'", "project_id is '*'"),
        ("DELETE FROM tokens WHERE actor = 'person:bo'", "it is gone, though"),
        ("UPDATE model_aliases SET version = 2", "version is 2, but 1"),
        ("INSERT INTO model_aliases VALUES ('flights', 'late', 'old', 1)", "no event made it"),
        ("UPDATE model_versions SET source = 'trained' WHERE version = 1", "source is 'trained', but 'imported'"),
        ("UPDATE model_versions SET files = '[]' WHERE version = 1", "files_digest is"),
        ("UPDATE deployments SET spec = replace(spec, '\"binary\"', '\"regression\"')", "spec_digest is"),
        ("UPDATE releases SET document = replace(document, '1.0', '0.5') WHERE number = 1", "0.5"),
        ("UPDATE releases SET document = replace(document, 'true', 'false') WHERE number = 2", "is_retired is False"),
        ("UPDATE gate_reports SET forced_by = ''", "is_forced is False, but True"),
        ("UPDATE projects SET owner = 'eve'", "owner is 'eve', but 'ops'"),
    ],
)
def test_what_was_written_past_the_verbs_is_told(
    dispatcher: Dispatcher, verify: Callable[[], LogReport], power: None, statement: str, told: str
) -> None:
    with dispatcher.database.engine.connect() as connection:
        connection.execute(text(statement))
        connection.commit()
    messages = [str(each) for each in verify().mismatches]
    assert any(told in message for message in messages)


def test_a_deleted_project_leaves_nothing_to_tell(
    dispatcher: Dispatcher, call: Callable[..., Any], verify: Callable[[], LogReport], power: None
) -> None:
    call("loop.delete_project", name="flights", reason="over")
    assert verify().mismatches == []
    while dispatcher.call("projects.forget_rows", {}, actor=SERVICE_ACTOR, project="flights"):
        assert verify().mismatches == [], "half of the rows are gone"
    assert verify().mismatches == []
    with dispatcher.database.engine.connect() as connection:
        connection.execute(text("UPDATE projects SET closed_at = NULL, deleted_at = NULL"))
        connection.commit()
    assert len(verify().mismatches) == 2, "nobody opens it again unseen"


def test_a_deleted_version_leaves_nothing_to_tell(
    dispatcher: Dispatcher, call: Callable[..., Any], verify: Callable[[], LogReport], power: None
) -> None:
    call("registry.import_model", model="other", reason="elsewhere", **model_of(b"other"))
    call("registry.force_gates", model="other", version=1, reason="I say so")
    call("deletion.delete", ref="model:other", reason="over")
    assert verify().mismatches == []
    with dispatcher.database.engine.connect() as connection:
        connection.execute(text("DELETE FROM gate_reports WHERE model = 'late'"))
        connection.commit()
    (told,) = verify().mismatches
    assert "it is gone, though registry.gates_forced" in str(told)


def test_a_yes_that_nobody_said_is_told(dispatcher: Dispatcher, verify: Callable[[], LogReport]) -> None:
    digest = "d" * 64
    dispatcher.write("flights", LOCAL_ACTOR, lambda tx: approvals.ask(tx, tx.ref("deployment", "late"), "So?", digest))
    assert verify().mismatches == []
    with dispatcher.database.engine.connect() as connection:
        connection.execute(text("UPDATE approvals SET state = 'approved', decided_by = 'person:ana'"))
        connection.commit()
    assert {each.row for each in verify().mismatches} == {verify().mismatches[0].row}
    assert "state is 'approved', but 'waiting' by approvals.asked" in str(verify().mismatches[0])
