"""Metrics: labels from lists the code knows, numbers of the platform, told only to those who may ask."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Actor, Dispatcher
from loopwright.kernel.clock import SECOND_US, FixedClock
from loopwright.kernel.verbs import Role
from loopwright.server.metrics import OTHER, ServerMetrics, write_metrics
from tests.server.site import Site

Samples = dict[str, dict[tuple[str, ...], float]]


def parse(text: str) -> Samples:
    """Return values by sample name and by the values of their labels, these in the order of the labels' names."""
    read: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            read.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return read


def scrape(site: Site, role: str = "") -> Samples:
    with site.http(role) as http:
        answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parse(answer.text)


def test_requests_are_counted_by_route_template_and_status(opened: Site) -> None:
    with opened.http() as http:
        for name in ("nowhere", "nobody", '"}x{a="b'):
            http.get(f"/p/flights/deployments/{name}")
            http.get(f"/v1/{name}/blobs/{name}")
            http.get(f"/{name}/{name}")
        http.request("BREW", "/healthz")
    requests = scrape(opened)["loopwright_http_requests_total"]
    assert requests["GET", "/p/{project}/deployments/{deployment}", "404"] == 3
    assert requests["GET", "/v1/{project}/blobs/{digest}", "404"] >= 1
    assert {method for method, _, _ in requests} <= {"GET", "POST", "PUT", OTHER}
    assert not any("nobody" in label for labels in requests for label in labels)


def test_verbs_are_timed_by_name_and_what_is_none_is_not(opened: Site) -> None:
    before = scrape(opened).get("loopwright_verb_seconds_count", {}).get(("loop.attention",), 0)
    opened.call("loop.attention")
    opened.call("no.such_verb")
    counts = scrape(opened)["loopwright_verb_seconds_count"]
    assert counts["loop.attention",] == before + 1
    assert ("no.such_verb",) not in counts


def test_with_auth_a_token_is_asked_for_and_needs_are_told_of_its_projects(guarded: Site) -> None:
    with guarded.http() as http:
        assert http.get("/metrics").status_code == 401
    for project in ("flights", "other"):
        raised = {"subject": f"{project}/deployment:late", "kind": "drift", "message": "drift"}
        guarded.call("monitoring.raise_alert", "service", project, **raised)
    for role, projects in (("viewer", {"flights"}), ("stranger", {"other"}), ("service", {"flights", "other"})):
        read = scrape(guarded, role)
        needs = read["loopwright_needs_attention"]
        assert {project for _, project, _ in needs} == projects
        assert set(needs.values()) == {1}
        # What others do shows in numbers of all projects together.
        assert (set(read) != {"loopwright_needs_attention"}) == (role == "service")


def test_the_platform_s_depths_are_those_of_its_rows(dispatcher: Dispatcher, wall: FixedClock) -> None:
    dispatcher.write("flights", LOCAL_ACTOR, lambda tx: [tx.start_job("x.do", f"flights/thing:{n}", {}) for n in "abc"])
    claim = {"worker": "w", "kinds": ["x.do"]}
    dispatcher.call("jobs.claim", claim, actor=SERVICE_ACTOR, project=SYSTEM)
    wall.at_us += 2 * SECOND_US
    heartbeat = {"gateway": "g", "address": "http://g", "position": 0}
    dispatcher.call("serving.acknowledge", heartbeat, actor=SERVICE_ACTOR, project=SYSTEM)
    read = parse(write_metrics(ServerMetrics(), dispatcher, LOCAL_ACTOR).decode())
    assert read["loopwright_jobs"] == {("x.do", "queued"): 2, ("x.do", "running"): 1}
    assert read["loopwright_jobs_oldest_seconds"]["x.do", "queued"] == 2.0
    assert read["loopwright_gateways_live"] == {(): 1}
    assert read["loopwright_database_bytes"][()] > 100_000
    assert read["loopwright_events_unsealed"][()] >= 0
    wall.at_us += 60 * SECOND_US
    assert parse(write_metrics(ServerMetrics(), dispatcher, LOCAL_ACTOR).decode())["loopwright_gateways_live"] == {
        (): 0
    }


@pytest.mark.parametrize("roles", [{}, {"gone": Role.VIEWER}])
def test_who_has_a_role_in_no_project_is_told_of_none(dispatcher: Dispatcher, roles: dict[str, Role]) -> None:
    raised = {"subject": "flights/deployment:late", "kind": "drift", "message": "drift"}
    dispatcher.call("monitoring.raise_alert", raised, actor=SERVICE_ACTOR, project="flights")
    text = write_metrics(ServerMetrics(), dispatcher, Actor("person:new", roles)).decode()
    assert not re.search(r"^loopwright_needs_attention\{", text, re.M)
