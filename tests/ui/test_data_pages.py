"""Pages of datasets over rows that real imports brought: what they show, to whom, and that nothing in it is markup."""

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.kernel.errors import PermissionDenied
from loopwright.ui.kit.asking import Ask
from tests.ui.conftest import Site, serve
from tests.ui.looking import find_faults
from tests.ui.seed_data import WIDE, Ground, flights, seed_data
from tests.ui.seed_ground import NASTY
from tests.waiting import PATIENCE_S

DATASETS = ["flights", "odd", "people", "wide", "few", "none"]
PLACES = [
    *(f"/data/{name}" for name in DATASETS),
    *("/data/flights/4", "/data/flights/5", "/data/flights/6", "/data/odd/1", "/data/people/3", "/data/few/1"),
    *("/data/few/2", "/data/flights/diff/2..3", "/data/flights/diff/3..4", "/data/flights/diff/7..8"),
    *("/data/flights/diff/1..2", "/data/odd/diff/1..2", "/data/people/diff/1..2", "/data/wide?columns=100"),
    *("/data/flights?offset=40", "/data/flights/5?failing=10", "/data/flights?offset=999", "/data/flights?offset=-3"),
]

LOOKED_AT = [
    *("/data/flights", "/data/odd", "/data/people", "/data/wide", "/data/few", "/data/none", "/data/flights/5"),
    *("/data/flights?offset=-3", "/data/flights/diff/1..2", "/data/flights/diff/7..8", "/data/odd/diff/1..2"),
]
"""What is looked at in a browser, which takes longer: each kind of page and of emptiness once."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An open server over datasets of every kind of row."""
    yield from serve(tmp_path_factory.mktemp("data_pages"), is_open=True, fill=seed_data)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same behind tokens; ``ids`` holds that of a viewer, and of a viewer of another project."""

    def fill(context: Any) -> dict[str, str]:
        seed_data(context)
        context.dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project=SYSTEM)
        secrets = {}
        for name, project in (("viewer", "flights"), ("outsider", "other")):
            args = {"actor": f"person:{name}", "role": "viewer"}
            secrets[name] = context.dispatcher.call("tokens.create", args, actor=LOCAL_ACTOR, project=project).secret
        return secrets

    yield from serve(tmp_path_factory.mktemp("closed_data"), is_open=False, fill=fill)


def read(site: Site, place: str, **options: Any) -> str:
    answer = httpx.get(site.page(place), headers={"accept": "text/html"}, timeout=PATIENCE_S, **options)
    assert answer.status_code == 200, answer.text[:2000]
    return answer.text


def twin(site: Site, place: str) -> Any:
    path, _, asked = place.partition("?")
    answer = httpx.get(site.page(f"{path}.json?{asked}"), timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text[:2000]
    return answer.json()


def table(page: str, label: str) -> list[list[str]]:
    """Return the body of a table as texts."""
    found = re.search(rf'aria-label="{label}".*?</table></div>', page, re.DOTALL)
    assert found, label
    body = found[0].split("</thead>")[1]
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [[text(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)] for row in rows]


class Elements(HTMLParser):
    """What a browser makes of a page: its elements and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


KNOWN_ELEMENTS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "a", "svg", "path", "rect", "div", "span"),
    *("form", "input", "kbd", "button", "nav", "main", "h1", "h2", "section", "table", "thead", "tbody", "tr", "th"),
    *("td", "dl", "dt", "dd", "p", "code", "br", "time", "del", "ins", "dialog", "details", "summary", "label", "i"),
}
"""``img`` is none of them."""


def text(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).strip()


def test_first_rows_are_shown_and_further_ones_are_a_link_away(ground: Site) -> None:
    page = read(ground, "/data/flights/4")
    rows = table(page, "Rows")
    assert len(rows) == 20
    assert rows[0] == ["1", "F01003", "2013-03-01 05:27:00", "JFK", "43.0", "true"]
    assert rows[6][4] == "–", "unknown is a dash"
    assert "1–20 of 117 rows of v4, in stored order" in page
    second = table(read(ground, "/data/flights/4?offset=20"), "Rows")
    assert second[0][:2] == ["21", "F01023"]
    assert 'href="?offset=40#rows"' in read(ground, "/data/flights/4?offset=20")
    last = read(ground, "/data/flights/4?offset=100")
    assert len(table(last, "Rows")) == 17
    assert "Next rows" not in last
    shown = twin(ground, "/data/flights/4?offset=100")["rows"]["preview"]
    assert (shown["offset"], shown["total"], len(shown["values"])) == (100, 117, 17)


def test_heads_say_how_all_rows_are_spread(ground: Site) -> None:
    columns = twin(ground, "/data/flights/3")["columns"]
    assert columns["temp"]["missing"] == 12
    assert (columns["temp"]["low"], columns["temp"]["high"]) == ("40", "46")
    assert sum(columns["temp"]["bars"]) == pytest.approx(108)
    assert sum(columns["scheduled_at"]["bars"]) == pytest.approx(120)
    assert columns["origin"]["top"][0] == ["EWR", pytest.approx(1 / 3)]
    page = read(ground, "/data/flights/3")
    assert "10.0\u202f% missing" in page
    assert 'aria-label="temp: from 40 to 46' in page
    assert "bars and shares: all rows of v3, by its profile" in page


def test_the_page_of_a_dataset_shows_its_newest_usable_rows(ground: Site) -> None:
    assert "of v8, in stored order" in read(ground, "/data/flights")
    assert "No version yet." in read(ground, "/data/none")
    assert "none of 0 rows of v2" in read(ground, "/data/few")
    assert "No row stands here." in read(ground, "/data/few/2")


def test_wide_rows_are_shown_a_hundred_columns_at_a_time(ground: Site) -> None:
    first = read(ground, "/data/wide")
    assert f"columns 1–100 of {WIDE}" in first
    assert 'href="?offset=0&amp;columns=100#rows"' in first or 'href="?offset=0&columns=100#rows"' in first
    second = read(ground, "/data/wide?columns=100")
    assert "sensor_128" in second
    assert f"columns 101–{WIDE} of {WIDE}" in second
    assert "No column stands here." in read(ground, "/data/wide?columns=500")


@pytest.mark.parametrize("place", PLACES)
def test_nothing_of_the_rows_is_markup(ground: Site, place: str) -> None:
    elements = Elements()
    elements.feed(read(ground, place))
    assert {name for name, _ in elements.found} <= KNOWN_ELEMENTS
    assert all("src" in attributes for name, attributes in elements.found if name == "script")
    names = {attribute for _, attributes in elements.found for attribute in attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}


def test_odd_values_are_told_in_words_and_long_ones_in_full_in_their_title(ground: Site) -> None:
    page = read(ground, "/data/odd/1")
    assert html.escape(NASTY, quote=False).replace("'", "&#39;") in page
    rows = table(page, "Rows")
    assert rows[0][2] == NASTY[:60] or NASTY.startswith(rows[0][2].rstrip("…"))
    assert rows[2][3] == "empty text"
    assert [row[4] for row in rows] == ["–"] * 20
    assert rows[0][6:] == ["inf", "2013-03-01", "[1, 2]"]
    assert f'title="{("Lorem ipsum dolor sit amet " * 20)}"' in page
    assert "all missing" in page


def test_what_is_personal_is_on_no_page_and_in_no_twin(ground: Site) -> None:
    for place in ("/data/people", "/data/people/1", "/data/people/3", "/data/people/diff/1..2"):
        for told in (read(ground, place), str(twin(ground, place))):
            assert "@example" not in told
            assert not re.search(r"7341|7342|502\d", told), place
    page = read(ground, "/data/people/3")
    assert "masked, for declared personal: email and age" in page
    assert table(page, "Failing rows")[0][2:] == ["•••", "failed: •••", "free"]
    assert [row[1] for row in table(page, "Rows")] == ["•••"] * 11
    first = table(read(ground, "/data/people/diff/1..2"), "Changed rows")[0]
    assert first[:4] == ["•••", "age", "− •••", "+ •••"]


def test_rows_are_for_members_of_the_project(closed: Site) -> None:
    begin = closed.context.dispatcher.begin_session
    viewer, outsider = ({"loopwright_session": begin(closed.ids[name])} for name in ("viewer", "outsider"))
    assert "F01003" in read(closed, "/data/flights/4", cookies=viewer)
    refused = httpx.get(closed.page("/data/flights/4"), cookies=outsider, headers={"accept": "text/html"})
    assert refused.status_code == 403
    assert "F01003" not in refused.text
    stranger = httpx.get(closed.page("/data/flights/4"), headers={"accept": "text/html"})
    assert stranger.headers["location"].startswith("/sign-in")
    asked = {"dataset": "flights", "version": 4}
    for secret, status in ((closed.ids["viewer"], 200), (closed.ids["outsider"], 403), ("lwt_wrong", 401)):
        where = f"{closed.url}/v1/flights/verbs/data.preview"
        answer = httpx.post(where, json=asked, headers={"authorization": f"Bearer {secret}"})
        assert answer.status_code == status


def test_who_reads_on_is_named_in_the_trail_once(closed: Site) -> None:
    viewer = {"loopwright_session": closed.context.dispatcher.begin_session(closed.ids["viewer"])}

    def told() -> list[tuple[str, str]]:
        asked = {"type_prefix": "data.rows_read"}
        found = closed.context.dispatcher.call("audit.list", asked, actor=LOCAL_ACTOR, project="flights")
        return [(event.actor, event.ref) for event in found]

    read(closed, "/data/flights/2", cookies=viewer)
    assert told() == []
    for offset in (20, 40):
        read(closed, f"/data/flights/2?offset={offset}", cookies=viewer)
    assert told() == [("person:viewer", "flights/dataset:flights/2")]


def test_who_may_not_see_rows_is_told_why_and_sees_the_rest(ground: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        step = "ask an admin of the project for that role"
        raise PermissionDenied("ana may not call data.preview here", rule="at least editor", next_step=step)

    monkeypatch.setattr(Ask, "operate", refuse)
    page = read(ground, "/data/flights/4")
    assert "The rows are not shown: ana may not call data.preview here" in page
    assert "Next: ask an admin of the project for that role." in page
    assert "F01003" not in page
    assert "cancelled" in page


def test_a_wrong_stretch_is_explained_where_the_rows_would_be(ground: Site) -> None:
    page = read(ground, "/data/flights/4?offset=-3")
    assert "no row comes before the first" in page
    assert "Rule: 0 or more." in page


def test_the_line_of_versions_tells_what_each_did_and_whose_doing_it_was(ground: Site) -> None:
    rows = {row[0]: row for row in table(read(ground, "/data/flights"), "Versions")}
    assert rows["v1"][2:6] == ["+60", "0", "0", "60"]
    assert rows["v3"][2:5] == ["0", "±4", "0"]
    assert rows["v3"][8] == "person:bo"
    assert rows["v4"][2:6] == ["0", "0", "−3", "117"]
    assert "quarantined" in rows["v5"][1]
    assert "released" in rows["v6"][1]
    assert rows["v6"][8] == "person:anareleased by person:cy"
    assert rows["v7"][1].startswith("restored from v4")
    assert rows["v7"][2:5] == ["–", "–", "–"], "only a comparison tells"
    page = read(ground, "/data/flights")
    assert 'href="/p/flights/data/flights/diff/7..8"' in page
    assert 'href="/p/flights/data/flights/diff/4..5"' in page


def test_a_comparison_shows_before_and_after_beside_each_other(ground: Site) -> None:
    page = read(ground, "/data/flights/diff/2..3")
    changed = table(page, "Changed rows")
    assert changed[0] == ["F02000", "temp", "− 40.0", "+ 41.5", "+1.5"]
    assert changed[1] == ["F02001", "temp", "− 41.0", "+ 42.5", "+1.5"]
    assert changed[2][:3] == ["is_late", "− false", "+ true"]
    assert "<del>" in page
    assert "<ins>" in page
    columns = {row[0]: row for row in table(page, "Columns that changed")}
    assert columns["temp Float64"][1] == "4 of 4"
    assert columns["is_late Boolean"][1] == "2 of 4"
    assert "shares of v2 (filled) and v3 (line), from 40 to 46" in page


def test_a_comparison_lists_rows_that_went_and_columns_that_came(ground: Site) -> None:
    removed = table(read(ground, "/data/flights/diff/3..4"), "Removed rows")
    assert [row[1] for row in removed] == ["F01000", "F01001", "F01002"]
    assert removed[0][0] == "− removed"
    page = read(ground, "/data/flights/diff/7..8")
    assert table(page, "Schema") == [["gate", "+ came", "–", "String"]]
    assert [row[1] for row in table(page, "Added rows")] == ["F01000", "F01001", "F01002"]
    assert "the first 50 of 117 rows" in page


def test_a_comparison_is_offered_made_and_then_shown(ground: Site) -> None:
    place = "/data/flights/diff/1..3"
    assert "Not compared yet" in read(ground, place)
    fields = {"dataset": "flights", "before": 1, "after": 3, "key": "k1", "back": f"/p/flights{place}"}
    started = httpx.post(f"{ground.url}/p/flights/do/data.start_diff", data=fields)
    assert started.status_code == 303, started.text[:1000]
    assert "data-wait" in read(ground, place)
    Ground(ground.context).worker.run()
    page = read(ground, place)
    assert "data-wait" not in page
    assert len(table(page, "Added rows")) == 50


def test_failing_rows_say_what_they_failed(ground: Site) -> None:
    page = read(ground, "/data/flights/5")
    rows = table(page, "Failing rows")
    assert rows[0] == ["1", "temp between -60 and 130", "F03000", "2013-03-03 05:00:00", "JFK", "failed: 999.0", "true"]
    assert "1–20 of 20 rows kept" in page
    assert "Failing rows" not in read(ground, "/data/flights/4")


@pytest.mark.ui
def test_pages_of_data_are_sound_in_a_browser(browser: Any, ground: Site) -> None:
    context = browser.new_context(color_scheme="dark", reduced_motion="reduce")  # other pages are opened in light
    context.set_default_timeout(PATIENCE_S * 1000)
    tab, problems = context.new_page(), []
    tab.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    for place in LOOKED_AT:
        tab.goto(ground.page(place), wait_until="load")
        problems += [f"{place}: {fault}" for fault in find_faults(tab)]
    context.close()
    assert not problems, "\n".join(problems)


@pytest.mark.ui
def test_a_comparison_appears_without_loading_the_page_again(browser: Any, ground: Site) -> None:
    made = Ground(ground.context)
    made.declare("late", ["flight_id"])
    made.load("late", flights(1))
    made.load("late", flights(2))
    made.call("data.start_diff", dataset="late", before=1, after=2)
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_S * 1000)
    tab = context.new_page()
    tab.goto(ground.page("/data/late/diff/1..2"), wait_until="load")
    assert tab.query_selector("[data-wait]") is not None
    made.worker.run()
    tab.wait_for_selector("text=Added rows")
    context.close()
