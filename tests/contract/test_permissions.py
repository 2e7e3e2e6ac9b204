"""Every verb, query and operation x every role x own and foreign project, over HTTP: allowed exactly as declared."""

import inspect
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM
from loopwright.kernel.verbs import VERBS, Role, Verb
from loopwright.rooms import import_rooms
from loopwright.server.app import create_app
from tests.server.site import Site, serve

import_rooms()
ROLES = ["none", "viewer", "editor", "approver", "admin", "service"]
STRENGTH = {role: number for number, role in enumerate(ROLES)}
ABOVE_PROJECTS = {"projects.list"}
"""What anybody with a token may ask above projects; the answer holds what they may see."""
PARTS = {"gateway", "worker", "job"}


class Edge:
    """A server with auth on, and one kept connection for each role in the project ``flights``."""

    def __init__(self, site: Site) -> None:
        call = site.context.dispatcher.call
        for role in ("none", "approver"):
            given = {"actor": f"person:{role}", "role": "viewer" if role == "none" else role}
            project = "other" if role == "none" else "flights"
            site.tokens[role] = call("tokens.create", given, actor=LOCAL_ACTOR, project=project).secret
        mine = {"actor": "service:mine", "role": "service"}
        site.tokens["service"] = call("tokens.create", mine, actor=SERVICE_ACTOR, project="flights").secret
        call("projects.create", {"name": "foreign"}, actor=LOCAL_ACTOR, project=SYSTEM)
        self.site = site
        self.roles = {role: site.http(role) for role in ROLES}
        self.nobody = site.http(accept="application/json")

    def post(self, role: str, project: str, verb: str, args: Any) -> httpx.Response:
        return self.roles[role].post(f"/v1/{project}/verbs/{verb}", json=args)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    for site in serve(tmp_path_factory.mktemp("contract"), is_open=False):
        made = Edge(site)
        yield made
        for http in (*made.roles.values(), made.nobody):
            http.close()


KNOWN = {"project": "flights", "verb": "approvals.approve", "name": "audit.list"}


def is_allowed(verb: Verb, role: str, project: str) -> bool:
    """Say what the declaration promises."""
    if project != "flights" or role == "none":
        return False
    if verb.is_above_projects:
        return False
    if role == "service":
        return True
    return verb.surface == "public" and STRENGTH[role] >= STRENGTH[verb.role.value]


@pytest.mark.parametrize("name", sorted(VERBS))
def test_each_role_may_do_what_is_declared_and_nothing_else(edge: Edge, name: str) -> None:
    for project in ("flights", "foreign", "missing", SYSTEM):
        for role in ROLES:
            # An argument nobody knows: who is allowed in is told so, who is not hears nothing about arguments.
            answer = edge.post(role, project, name, {"no_such_argument": 1})
            expected = 422 if is_allowed(VERBS[name], role, project) else 403
            if project == SYSTEM and name in ABOVE_PROJECTS:
                expected = 422
            assert answer.status_code == expected, f"{role} calls {name} in {project}: {answer.text}"
            assert answer.json()["error"]["code"] == ("invalid_input" if expected == 422 else "permission_denied")


@pytest.mark.parametrize("name", sorted(VERBS))
def test_nothing_answers_without_a_token(edge: Edge, name: str) -> None:
    for query in ("", "?wait_s=5"):
        answer = edge.nobody.post(f"/v1/flights/verbs/{name}{query}", json={})
        assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("name", sorted(VERBS))
def test_waiting_goes_past_no_permission(edge: Edge, name: str) -> None:
    for role in ("none", "viewer", "editor"):
        if not is_allowed(VERBS[name], role, "flights"):
            answer = edge.post(role, "flights", f"{name}?wait_s=5", {"kinds": ["x"], "worker": "w"})
            assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("role", ROLES)
def test_every_query_without_arguments_answers_those_it_is_for(edge: Edge, role: str) -> None:
    for name, verb in VERBS.items():
        needed = [one for one in verb.parameters.values() if one.default is one.empty]
        if verb.is_query and not needed:
            answer = edge.post(role, "flights", name, {})
            expected = {200, 404, 422} if is_allowed(verb, role, "flights") else {403}
            assert answer.status_code in expected, f"{role} asks {name}: {answer.text}"


def test_an_admin_of_one_project_makes_no_other_and_sees_no_other(edge: Edge) -> None:
    assert edge.post("admin", "flights", "projects.create", {"name": "new"}).status_code == 403
    assert edge.post("admin", "flights", "projects.create", {"name": "foreign", "owner": "eve"}).status_code == 403
    assert edge.post("admin", "flights", "projects.get", {"name": "foreign"}).status_code == 403
    assert edge.post("admin", "flights", "projects.get", {"name": "missing"}).status_code == 403
    assert edge.post("admin", "flights", "projects.create", {"name": "flights", "owner": "ana"}).status_code == 200
    assert [one["name"] for one in edge.post("admin", SYSTEM, "projects.list", {}).json()] == ["flights"]


def test_an_admin_of_one_project_gives_no_more_than_they_have(edge: Edge) -> None:
    grab = {"actor": "person:eve", "role": "admin", "every_project": True}
    assert edge.post("admin", "flights", "tokens.create", grab).status_code == 422
    assert edge.post("admin", "flights", "tokens.create", {"actor": "person:eve", "role": "service"}).status_code == 422


def test_every_route_asks_for_a_token(edge: Edge) -> None:
    open_to_all = {"/healthz", "/", "/static/{name:path}", "/theme", "/sign-in", "/sign-out", "/{path:no_api}"}
    for route in create_app(edge.site.context).routes:
        assert isinstance(route, Route)
        if route.path in open_to_all:
            continue
        path = route.path
        for part in route.param_convertors:
            path = path.replace("{" + part + "}", KNOWN.get(part, "1")).replace("{" + part + ":path}", "1")
        for method in sorted(set(route.methods or ["GET"]) - {"HEAD"}):
            answer = edge.nobody.request(method, path)
            is_refused = answer.status_code == 401 or "/sign-in" in answer.headers.get("location", "")
            assert is_refused, f"{method} {route.path}: {answer.status_code}"


@pytest.mark.parametrize("name", sorted(name for name, verb in VERBS.items() if "limit" in verb.parameters))
def test_a_negative_limit_is_not_everything(edge: Edge, name: str) -> None:
    answer = edge.post("service", "flights", name, {"limit": -1})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "limit"


@pytest.mark.parametrize("name", sorted(VERBS))
def test_each_verb_is_documented_and_typed(name: str) -> None:
    verb = VERBS[name]
    room, _, action = name.partition(".")
    assert room
    assert action == action.lower()
    assert verb.summary.endswith("."), f"{name} says nothing of what it does"
    assert "return" in verb.types, f"{name} does not say what it answers"
    for parameter in verb.parameters.values():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{name}: {parameter.name} is not by name"
        assert parameter.name in verb.types, f"{name}: {parameter.name} has no type"
        assert verb.types[parameter.name] not in (object, Any)
    assert (verb.surface == "internal") == (verb.role is Role.SERVICE)
    assert verb.is_query or verb.is_operation or verb.changes is not None
