"""Every page on real rows: HTML and its JSON twin, nothing injected, quick, and strict about where things come from."""

import html
import json
import re
from collections import Counter
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from loopwright.data import suggestions
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.documents import to_builtins
from loopwright.ui.kit.words import moment
from tests.ui.conftest import Site
from tests.ui.seed_ground import NASTY

PATHS = [
    *("", "/data", "/data/weather", "/data/weather/40", "/data/weather/diff/39..40", "/features", "/experiments"),
    *("/experiments/late", "/runs/{run}", "/models", "/models/late", "/models/late/4", "/models/late/6", "/pipelines"),
    *("/pipelines/{execution}", "/pipelines/{failed_execution}", "/deployments", "/deployments/late"),
    *("/deployments/arrival", "/deployments/scorecard", "/monitoring", "/monitoring/late", "/monitoring/scorecard"),
    *("/incidents", "/incidents/{incident}", "/predictions/{prediction}", "/audit", "/approvals", "/lineage"),
    *("/lineage/model:late/4", "/search"),
]
MOST_STATEMENTS = 45


@pytest.mark.parametrize("path", PATHS)
def test_a_page_and_its_twin_answer(site: Site, web: httpx.Client, path: str) -> None:
    place = f"/p/flights{path.format(**site.ids)}"
    page, twin = web.get(place), web.get(f"{place}.json")
    assert page.status_code == 200, page.text[:500]
    assert "text/html" in page.headers["content-type"]
    assert twin.status_code == 200, twin.text[:500]
    assert isinstance(twin.json(), dict)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_obeys_its_own_policy(site: Site, web: httpx.Client, path: str) -> None:
    page = web.get(f"/p/flights{path.format(**site.ids)}")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert NASTY not in page.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text), "no script stands in a page"
    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:", re.sub(r"&lt;.*?&gt;", "", page.text))
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page.text), "nothing comes from elsewhere"


@pytest.mark.slow
def test_no_link_leads_nowhere(site: Site, web: httpx.Client) -> None:
    pages = [web.get(f"/p/flights{path.format(**site.ids)}").text for path in PATHS]
    links = {html.unescape(link) for page in pages for link in re.findall(r'href="(/p/[^"#]+)', page)}
    assert len(links) > 100
    statuses = {
        link: web.get(link).status_code for link in links if "exe_x" not in link
    }  # seeded without its execution
    assert {link: status for link, status in statuses.items() if status >= 400} == {}


@pytest.mark.parametrize("path", PATHS)
def test_a_page_asks_few_statements(site: Site, web: httpx.Client, path: str) -> None:
    """Seconds tell of the machine, statements of the page: one a row of a list is what makes it slow."""
    asked: list[str] = []
    engine = site.context.database.engine

    def count(*called: Any) -> None:
        asked.append(called[2])

    place = f"/p/flights{path.format(**site.ids)}"
    web.get(place)
    event.listen(engine, "before_cursor_execute", count)
    try:
        web.get(place)
    finally:
        event.remove(engine, "before_cursor_execute", count)
    often = Counter(asked).most_common(1)[0]
    assert len(asked) <= MOST_STATEMENTS, often


def test_the_overview_tells_what_needs_a_person(web: httpx.Client) -> None:
    twin = web.get("/p/flights.json").json()
    assert [stage["name"] for stage in twin["stages"]] == [
        *("Data", "Features", "Training", "Gates", "Deployment", "Monitoring", "Feedback")
    ]
    assert {row["need"]["kind"] for row in twin["needs"]} == {"approval", "quarantine", "pipeline"}
    assert twin["needs_words"] == "1 approval · 1 failed pipeline · 1 quarantined version"
    assert twin["closing"]["times"] == 2
    assert twin["deployments"][0]["name"] == "late", "the most urgent comes first"


def test_incidents_that_need_a_person_are_counted_alike_everywhere(web: httpx.Client) -> None:
    page = web.get("/p/flights").text
    assert re.search(r'>Incidents<span class="count calls">1<', page)
    assert "1 incident needs you" in page
    assert re.search(r'>Overview<span class="count calls">3<', page)


def test_rows_over_which_suggestions_fail_close_the_page_to_nobody(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    assert "Suggested checks" in web.get("/p/flights/data/weather").text
    monkeypatch.setattr(suggestions, "suggest", fail)
    page = web.get("/p/flights/data/weather")
    assert page.status_code == 200
    assert "Suggested checks" not in page.text


def test_the_only_project_is_shown_at_once(web: httpx.Client) -> None:
    assert web.get("/").headers["location"] == "/p/flights"
    assert "flights" in web.get("/?all=1").text


def test_runs_are_filtered_and_a_wrong_filter_is_explained(web: httpx.Client) -> None:
    found = web.get("/p/flights/experiments/late.json", params={"filter": 'state = "failed"'}).json()
    assert found["runs"]
    assert {run["state"] for run in found["runs"]} == {"failed"}
    wrong = web.get("/p/flights/experiments/late", params={"filter": "metrics.roc_auc >"})
    assert wrong.status_code == 200
    assert "expected a value" in wrong.text


def test_long_tables_have_a_next_page(web: httpx.Client) -> None:
    first = web.get("/p/flights/experiments/late.json").json()
    second = web.get("/p/flights/experiments/late.json", params={"after": first["next"]}).json()
    assert len(first["runs"]) == 100
    assert not {run["run_id"] for run in first["runs"]} & {run["run_id"] for run in second["runs"]}


def test_metric_points_are_decimated_with_their_extremes(site: Site, web: httpx.Client) -> None:
    twin = web.get(f"/p/flights/runs/{site.ids['run']}/points.json", params={"metric": "roc_auc"}).json()
    assert twin["of"] == 600
    assert len(twin["points"]) <= 500
    assert all(one["low"] <= one["mean"] <= one["high"] for one in twin["points"])


def test_a_dataset_tells_how_its_files_are_written(site: Site, web: httpx.Client) -> None:
    dialect = {"separator": ";", "decimal": ",", "missing": ["k.A.", "-"]}
    source = {"kind": "csv", "location": "sales/*.csv", "zone": "Europe/Berlin", "dialect": dialect}
    spec = {"name": "sales", "source": {**source, "types": {"zip": "String"}}, "key": ["id"]}
    site.context.dispatcher.call("data.declare", {"spec": spec}, actor=LOCAL_ACTOR, project="flights")
    page = web.get("/p/flights/data/sales").text
    for what, how in {"separator": ";", "decimal": ",", "missing": "k.A. -", "zip": "String"}.items():
        assert f"{what} <code>{how}</code>" in page
    assert "encoding" not in page, "what is as usual is not told"


def test_a_dataset_version_tells_what_is_missing_and_lists_its_files(web: httpx.Client) -> None:
    twin = web.get("/p/flights/data/weather/39.json").json()
    assert twin["missing"] == {"origin": 0, "distance": 0, "temp": 7}
    assert len(twin["fragments"]) == 3
    page = web.get("/p/flights/data/weather/39").text
    assert "may be missing" not in page
    assert re.search(r'temp</th><td class="dim">Float64</td><td class="num dim">7,', page)
    assert all(f"/v1/flights/blobs/{one['digest']}" in page for one in twin["fragments"])


def test_a_run_shows_a_metric_that_was_logged_once_as_its_value(site: Site, web: httpx.Client) -> None:
    once = web.get("/p/flights/runs/{run}?metric=seconds".format(**site.ids)).text
    assert 'class="answer">41.5' in once
    assert "logged once, at step 0" in once
    assert "data-chart" not in once
    assert once.count("<dt>execution</dt>") == 1
    assert "data-chart" in web.get("/p/flights/runs/{run}?metric=roc_auc".format(**site.ids)).text


def test_models_tell_in_the_time_of_the_project_when_the_newest_version_came(web: httpx.Client) -> None:
    models = web.get("/p/flights/models.json").json()["models"]
    [late] = [model for model in models if model["model"] == "late"]
    newest = web.get(f"/p/flights/models/late/{late['versions']}.json").json()["version"]
    assert late["last_event_at"] == newest["event_at"]
    assert moment(newest["event_at"]) in web.get("/p/flights/models").text


def test_a_version_says_why_it_may_not_go_live(web: httpx.Client) -> None:
    twin = web.get("/p/flights/models/late/6.json").json()
    assert twin["verdict"]["state"] == {"word": "may not", "tone": "bad"}
    assert "0.612" in twin["verdict"]["sentence"]


def test_a_version_that_a_person_passed_says_whether_its_gates_were_tried(site: Site, web: httpx.Client) -> None:
    call = partial(site.context.dispatcher.call, actor=LOCAL_ACTOR, project="flights")
    kept = call("registry.get_version", {"model": "late", "version": 1})
    files = [{"path": file.path, "digest": file.digest, "size_bytes": file.size_bytes} for file in kept.files]
    made = {"model": "by_hand", "flavour": kept.flavour, "files": files, "signature": to_builtins(kept.signature)}
    call("registry.register", made, actor=SERVICE_ACTOR)
    call("registry.force_gates", {"model": "by_hand", "version": 1, "reason": "the first one"})
    page = web.get("/p/flights/models/by_hand/1")
    assert "person:local passed it although no gate was tried: the first one" in page.text
    assert 'aria-label="Gates"' not in page.text
    assert ">forced<" in web.get("/p/flights/models/by_hand").text
    assert ">failed<" not in web.get("/p/flights/models/by_hand").text


def test_what_is_watched_says_when_the_window_that_runs_ends_and_what_it_holds(web: httpx.Client) -> None:
    current = web.get("/p/flights/monitoring/late.json").json()["current"]
    assert current["end_at"] - current["start_at"] == DAY_US
    page = web.get("/p/flights/monitoring/late").text
    assert f"ends at {moment(current['end_at'])}" in page
    assert f"{current['rows']} prediction" in page
    assert "logged in it so far" in page


def test_a_version_names_who_let_its_rollout_in(web: httpx.Client) -> None:
    [asked] = web.get("/p/flights/models/late/4.json").json()["approvals"]
    assert (asked["question"], asked["state"]) == ("Release version 4 of late?", "approved")
    assert web.get("/p/flights/models/late/6.json").json()["approvals"] == []


def test_a_refit_is_explained_where_it_is_shown(web: httpx.Client) -> None:
    assert "its refit, the next version, repeats the recipe on all rows" in web.get("/p/flights/models/late").text
    assert "<dt>refit of</dt>" in web.get("/p/flights/models/late/5").text
    assert "<dt>refit of</dt>" not in web.get("/p/flights/models/late/4").text


def test_a_prediction_is_followed_to_its_datasets(site: Site, web: httpx.Client) -> None:
    page = web.get(f"/p/flights/predictions/{site.ids['prediction']}")
    assert "dataset:flights/32" in page.text
    assert 'class="graph"' in page.text
    assert "EXPIRED" in page.text, "a missing feature says why"


def test_search_leads_ids_and_refs_straight_to_their_page(site: Site, web: httpx.Client) -> None:
    for text, place in (
        (site.ids["run"], f"/runs/{site.ids['run']}"),
        ("model:late/4", "/models/late/4"),
        (site.ids["prediction"], f"/predictions/{site.ids['prediction']}"),
    ):
        assert web.get("/p/flights/search", params={"q": text}).headers["location"] == f"/p/flights{place}"
    assert "/p/flights/data/weather" in web.get("/p/flights/search", params={"q": "weath"}).text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/nope", 404),
        ("/models/late/x", 404),
        ("/audit?before=x", 422),
        (f"/audit?before={10**18}", 422),
        ("/audit?ref=model:a%00b", 422),
        ("/lineage/%3F", 422),
        ("/nowhere", 404),
    ],
)
def test_a_wrong_address_says_what_to_do_next(web: httpx.Client, path: str, status: int) -> None:
    page = web.get(f"/p/flights{path}")
    assert page.status_code == status
    assert "Traceback" not in page.text
    assert "Overview of flights" in page.text or "All projects" in page.text


def test_a_program_gets_errors_as_json(web: httpx.Client) -> None:
    answer = web.get("/p/flights/models/nope.json")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert web.get("/v1/flights/nothing", headers={"accept": "*/*"}).json()["error"]["code"] == "not_found"


def test_the_audit_is_filtered_and_paged(site: Site, web: httpx.Client) -> None:
    twin = web.get("/p/flights/audit.json", params={"type": "serving.", "ref": "deployment:late"}).json()
    assert twin["events"]
    assert all(event["type"].startswith("serving.") for event in twin["events"])
    assert all(event["ref"] == "flights/deployment:late" for event in twin["events"])
    older = web.get("/p/flights/audit.json", params={"before": twin["events"][0]["position"]}).json()
    assert older["events"][0]["position"] < twin["events"][0]["position"]


def test_an_event_of_no_known_type_reads_as_its_name(site: Site, web: httpx.Client) -> None:
    site.context.dispatcher.write(
        "flights", SERVICE_ACTOR, lambda tx: tx.emit("loop.something_new", tx.ref("model", "late"), note={"a": [1]})
    )
    assert web.get("/p/flights/audit.json").json()["events"][0]["text"] == "something new"
    assert json.loads(web.get("/projects.json").text)["projects"][0]["name"] == "flights"


def test_what_was_deleted_is_told_where_it_stood(site: Site, web: httpx.Client) -> None:
    call = site.context.dispatcher.call
    actor = {"actor": LOCAL_ACTOR, "project": "flights"}
    run_id = call("tracking.start_run", {"experiment": "brief", "inputs": ["dataset:flights/1"]}, **actor).run_id
    call("tracking.finish_run", {"run_id": run_id}, **actor)
    call("deletion.delete", {"ref": "experiment:brief", "reason": "it was a <try>"}, **actor)
    for path in (f"/runs/{run_id}", "/experiments/brief"):
        answer = web.get(f"/p/flights{path}")
        assert answer.status_code == 404
        assert "was deleted at" in answer.text
        assert "by person:local: it was a &lt;try&gt;" in answer.text
    around = web.get(f"/p/flights/lineage/run:{run_id}")
    assert around.status_code == 200
    assert f"run {run_id} was deleted at" in around.text
    assert web.get("/p/flights/lineage/dataset:flights/1").status_code == 200
