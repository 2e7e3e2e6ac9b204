"""Refused calls are part of the trail, within bounds."""

from loopwright.governance import Actor, Dispatcher
from loopwright.server.denials import Denials
from loopwright.wire.credentials import JobClaim, job_token, worker_token
from loopwright.wire.denials import MOST_REMEMBERED, QUIET_S
from tests.server.site import SERVICE_TOKEN, Site

EVE = Actor("person:eve", {})


class Now:
    at_s = 1e6

    def __call__(self) -> float:
        return self.at_s


def told(site: Site, project: str = "flights") -> list[tuple[str, str, str]]:
    listed = site.call("audit.list", "service", project, type_prefix="access.", limit=1000).json()
    return [(one["actor"], one["payload"]["verb"], one["payload"]["client"]) for one in listed]


def test_a_refused_call_is_told_once_with_who_what_and_where_from(guarded: Site) -> None:
    for _ in range(3):
        assert guarded.call("projects.create", "viewer", name="mine").status_code == 403
    assert told(guarded).count(("person:viewer", "projects.create", "127.0.0.1")) == 1
    assert guarded.call("data.list", "stranger").status_code == 403
    assert ("person:stranger", "data.list", "127.0.0.1") in told(guarded)
    assert guarded.call("data.list", "stranger", "missing").status_code == 403
    assert ("person:stranger", "data.list", "127.0.0.1") in told(guarded, "_system")


def test_what_a_verb_itself_refuses_is_told_too(guarded: Site) -> None:
    """One that an editor may call refuses the case that is an approver's."""
    assert guarded.call("deletion.delete", "editor", ref="model:late", reason="mine").status_code == 403
    assert ("person:editor", "deletion.delete", "127.0.0.1") in told(guarded)


def test_refused_blobs_are_told(guarded: Site) -> None:
    for role, verb in (("viewer", "put"), ("stranger", "put"), ("stranger", "get"), ("", "get")):
        with guarded.http(role) as http:
            path = "/v1/flights/blobs" if verb == "put" else f"/v1/flights/blobs/{'a' * 64}"
            assert http.request(verb, path).status_code in (401, 403)
    rows = told(guarded)
    for row in [("person:viewer", "write"), ("person:stranger", "write"), ("person:stranger", "read")]:
        assert (row[0], f"blobs.{row[1]}", "127.0.0.1") in rows
    assert ("stranger", "blobs.read", "127.0.0.1") in rows


def test_a_job_that_has_just_ended_is_no_stranger(guarded: Site) -> None:
    """A worker may still read a blob, or call, the moment after its attempt has ended."""
    ended = job_token(worker_token(SERVICE_TOKEN), JobClaim("flights", "job_of_before", 1))
    before = told(guarded)
    with guarded.http(authorization=f"Bearer {ended}") as http:
        assert http.put("/v1/flights/blobs", content=b"x").status_code == 401
        assert http.post("/v1/flights/verbs/data.list", json={}).status_code == 401
    assert told(guarded) == before


def test_a_stranger_is_told_by_address_however_the_secret_varies(guarded: Site) -> None:
    with guarded.http() as http:
        for number in range(3):
            headers = {"authorization": f"Bearer lwt_guess{number}"}
            for path in ("flights/verbs/data.declare", "flights/verbs/data%2Edeclare", "made_up/verbs/data.diff"):
                assert http.post(f"/v1/{path}", json={}, headers=headers).status_code == 401
    assert told(guarded).count(("stranger", "data.declare", "127.0.0.1")) == 1
    assert told(guarded, "_system").count(("stranger", "data.diff", "127.0.0.1")) == 1


def test_the_same_again_is_told_after_a_while(dispatcher: Dispatcher) -> None:
    now = Now()
    denials = Denials(dispatcher, now)
    assert [denials.is_news(EVE, "a.b", "p") for _ in range(3)] == [True, False, False]
    assert denials.is_news(EVE, "a.c", "p")
    now.at_s += QUIET_S
    assert denials.is_news(EVE, "a.b", "p")


def test_a_flood_is_told_of_within_bounds_of_disk_and_memory(dispatcher: Dispatcher) -> None:
    now = Now()
    denials = Denials(dispatcher, now)
    assert sum(denials.is_news(EVE, f"a.{number}", "p") for number in range(10_000)) == 60
    for number in range(2 * MOST_REMEMBERED):
        now.at_s += 1
        denials.is_news(EVE, f"b.{number}", "p")
    assert len(denials._filter._quiet) <= MOST_REMEMBERED
