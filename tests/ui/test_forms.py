"""Forms: they call verbs as the caller, ask for reasons, refuse other sites, and never lead elsewhere."""

from collections.abc import Iterator

import httpx
import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.kernel.verbs import Role
from loopwright.wire.rates import CallerRates, Rates
from tests.ui.conftest import Site, serve
from tests.ui.seed import seed


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A seeded open server of one test's own."""
    folder = tmp_path_factory.mktemp("forms")
    yield from serve(folder, is_open=True, fill=lambda context: seed(context.dispatcher))


@pytest.fixture
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that asks for tokens; ``ids`` holds those of a viewer and an approver."""

    def fill(context: object) -> dict[str, str]:
        dispatcher = context.dispatcher  # type: ignore[attr-defined]
        ids = seed(dispatcher)
        for role in (Role.VIEWER, Role.APPROVER):
            made = dispatcher.call(
                "tokens.create",
                {"actor": f"person:{role.value}", "role": role.value},
                actor=LOCAL_ACTOR,
                project="flights",
            )
            ids[role.value] = made.secret
        return ids

    yield from serve(tmp_path_factory.mktemp("closed"), is_open=False, fill=fill)


def post(site: Site, verb: str, fields: dict[str, object], **headers: str) -> httpx.Response:
    return httpx.post(f"{site.url}/p/flights/do/{verb}", data=fields, headers={"accept": "text/html", **headers})


def test_an_approval_needs_a_reason_and_lands_in_the_audit(fresh: Site) -> None:
    fields = {"approval_id": fresh.ids["approval"], "back": "/p/flights/approvals"}
    refused = post(fresh, "approvals.approve", fields)
    assert refused.status_code == 422
    assert "a reason is needed" in refused.text
    done = post(fresh, "approvals.approve", {**fields, "reason": "looked at the gates"})
    assert done.headers["location"] == "/p/flights/approvals?done=approvals.approve"
    assert "Approved." in httpx.get(f"{fresh.url}{done.headers['location']}").text
    events = httpx.get(f"{fresh.page('/audit.json')}?type=approvals.approved").json()["events"]
    assert events[0]["reason"] == "looked at the gates"
    assert events[0]["actor"] == "person:local"


def test_the_same_form_sent_twice_is_once(fresh: Site) -> None:
    fields = {"incident_id": fresh.ids["incident"], "reason": "mine", "key": "k1", "back": "/p/flights"}
    assert [post(fresh, "monitoring.acknowledge", fields).status_code for _ in range(2)] == [303, 303]


def test_a_rollout_is_aborted_and_a_quarantine_released(fresh: Site) -> None:
    assert post(fresh, "serving.pause", {"rollout_id": fresh.ids["rollout"], "reason": "wait"}).status_code == 303
    twin = httpx.get(fresh.page("/deployments/late.json")).json()
    assert twin["rollout"]["state"] == "paused"
    fields = {"dataset": "weather", "version": "40", "reason": "it really was that cold"}
    assert post(fresh, "data.release_quarantine", fields).status_code == 303
    assert httpx.get(fresh.page("/data/weather/40.json")).json()["version"]["state"] == "ready"


def test_older_rows_are_restored_from_their_page(fresh: Site) -> None:
    newest = httpx.get(fresh.page("/data/weather.json")).json()["dataset"]["newest"]
    assert "/do/data.restore" not in httpx.get(fresh.page(f"/data/weather/{newest}")).text
    assert "/do/data.restore" in httpx.get(fresh.page("/data/weather/1")).text
    fields = {"dataset": "weather", "version": "1", "reason": "the rest was a hoax"}
    done = post(fresh, "data.restore", fields)
    assert done.status_code == 303, done.text
    restored = httpx.get(fresh.page("/data/weather.json")).json()["versions"][0]
    assert (restored["rows"], restored["state"]) == (
        httpx.get(fresh.page("/data/weather/1.json")).json()["version"]["rows"],
        "ready",
    )


@pytest.mark.parametrize(
    "changed", [{"version": "9" * 5000}, {"version": "9" * 19}, {"key": "a\0b"}, {"dataset": "a\0b"}]
)
def test_what_no_column_holds_is_refused_by_its_field(site: Site, changed: dict[str, str]) -> None:
    fields = {"dataset": "weather", "version": "40", "reason": "it was cold", "key": "k"}
    answer = post(site, "data.release_quarantine", {**fields, **changed})
    assert answer.status_code == 422
    assert next(iter(changed)) in answer.text


FOREIGN = ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)"]


@pytest.mark.parametrize("back", FOREIGN)
def test_a_form_never_leads_to_another_site(site: Site, back: str) -> None:
    answer = httpx.post(f"{site.url}/theme", data={"theme": "dark", "back": back})
    assert answer.headers["location"] == "/"


def test_a_page_of_another_site_is_refused(site: Site) -> None:
    fields = {"approval_id": site.ids["approval"], "reason": "x"}
    answer = post(site, "approvals.approve", fields, origin="https://evil.example")
    assert answer.status_code == 403


def test_only_listed_verbs_have_a_form(site: Site) -> None:
    assert post(site, "tokens.create", {"actor": "person:eve", "role": "admin", "reason": "x"}).status_code == 404


def test_the_theme_is_kept(site: Site) -> None:
    answer = httpx.post(f"{site.url}/theme", data={"theme": "dark", "back": "/p/flights"})
    assert answer.headers["location"] == "/p/flights"
    page = httpx.get(site.page(), cookies={"loopwright_theme": "dark"})
    assert 'data-theme="dark"' in page.text
    assert 'data-theme="auto"' in httpx.get(site.page(), cookies={"loopwright_theme": '"><script>'}).text


def test_signing_in(closed: Site) -> None:
    asked = httpx.get(closed.page("/models"), headers={"accept": "text/html"})
    assert asked.headers["location"] == "/sign-in?next=%2Fp%2Fflights%2Fmodels"
    wrong = httpx.post(f"{closed.url}/sign-in", data={"token": "lwt_wrong", "next": "/p/flights/models"})
    assert wrong.status_code == 401
    assert "not valid" in wrong.text
    right = httpx.post(f"{closed.url}/sign-in", data={"token": closed.ids["viewer"], "next": "/p/flights/models"})
    assert right.headers["location"] == "/p/flights/models"
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert closed.ids["viewer"] not in cookie
    assert "max-age=43200" in cookie
    assert "secure" not in cookie
    session = {"loopwright_session": right.cookies["loopwright_session"]}
    page = httpx.get(closed.page("/models"), cookies=session)
    assert "person:viewer" in page.text
    assert httpx.get(closed.page("/models.json")).status_code == 401
    assert httpx.get(closed.page("/models.json"), cookies=session).status_code == 200
    assert (
        httpx.get(closed.page("/models.json"), cookies={"loopwright_session": closed.ids["viewer"]}).status_code == 401
    )
    httpx.post(f"{closed.url}/sign-out", cookies=session)
    assert httpx.get(closed.page("/models.json"), cookies=session).status_code == 401
    form = {"token": closed.ids["viewer"]}
    behind = httpx.post(f"{closed.url}/sign-in", data=form, headers={"x-forwarded-proto": "https"})
    assert "secure" in behind.headers["set-cookie"].lower()


def test_a_viewer_sees_no_forms_and_may_not_decide(closed: Site) -> None:
    begin = closed.context.dispatcher.begin_session
    viewer, approver = ({"loopwright_session": begin(closed.ids[role])} for role in ("viewer", "approver"))
    assert "/do/approvals.approve" not in httpx.get(closed.page("/approvals"), cookies=viewer).text
    assert "/do/approvals.approve" in httpx.get(closed.page("/approvals"), cookies=approver).text
    fields = {"approval_id": closed.ids["approval"], "reason": "x"}
    place = f"{closed.url}/p/flights/do/approvals.approve"
    assert httpx.post(place, data=fields, cookies=viewer).status_code == 403
    assert httpx.post(place, data=fields, cookies=approver).status_code == 303


def test_who_is_refused_at_a_page_is_told(closed: Site) -> None:
    """The pages are a way to the verbs like any other."""
    viewer = {"loopwright_session": closed.context.dispatcher.begin_session(closed.ids["viewer"])}
    fields = {"approval_id": closed.ids["approval"], "reason": "x"}
    assert httpx.post(f"{closed.url}/p/flights/do/approvals.approve", data=fields, cookies=viewer).status_code == 403
    assert httpx.post(f"{closed.url}/p/flights/do/approvals.approve", data=fields).status_code == 303
    closed.context.dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project=SYSTEM)
    assert httpx.get(f"{closed.url}/p/other/models", cookies=viewer).status_code == 403
    assert httpx.post(f"{closed.url}/sign-in", data={"token": "lwt_wrong"}).status_code == 401

    def told(project: str) -> set[tuple[str, str]]:
        asked = {"type_prefix": "access."}
        listed = closed.context.dispatcher.call("audit.list", asked, actor=LOCAL_ACTOR, project=project)
        return {(event.actor, event.payload["verb"]) for event in listed}

    assert told("flights") == {("person:viewer", "approvals.approve"), ("stranger", "approvals.approve")}
    assert told("other") == {("person:viewer", "page models")}
    assert told(SYSTEM) == {("stranger", "sign in")}


def test_strangers_at_the_sign_in_write_nothing_and_are_counted(closed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one writer for all projects, and a word that a session ended makes everybody be looked up again."""
    written: list[str] = []
    write = closed.context.database.write
    monkeypatch.setattr(closed.context.database, "write", lambda work: (written.append("x"), write(work))[1])
    monkeypatch.setattr(closed.context.denials, "is_news_of_stranger", lambda *_: False)
    monkeypatch.setattr(closed.context.gatekeeper, "_rates", CallerRates(0.001))
    closed.context.gatekeeper._rates._strangers = Rates(0.01, 300.0)  # three at once
    wrong = [httpx.post(f"{closed.url}/sign-in", data={"token": f"lwt_{number}"}) for number in range(4)]
    assert [answer.status_code for answer in wrong] == [401, 401, 401, 429]
    assert "too many" in wrong[-1].text
    ended = [httpx.post(f"{closed.url}/sign-out", cookies={"loopwright_session": f"lwu_{n}"}) for n in range(2)]
    assert [answer.status_code for answer in ended] == [429, 429]
    assert written == []
