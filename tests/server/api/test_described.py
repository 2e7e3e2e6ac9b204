"""The OpenAPI document is valid, whole, and true: what it describes is what is answered."""

from collections.abc import Iterator

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from loopwright.kernel.verbs import VERBS
from tests.server.site import Site, serve


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from serve(tmp_path_factory.mktemp("site"), is_open=False)


@pytest.fixture(scope="module")
def document(site: Site) -> dict:
    with site.http("viewer") as http:
        return http.get("/v1/openapi.json").raise_for_status().json()


def test_it_is_valid_and_names_every_public_verb(document: dict) -> None:
    validate(document)
    described = {operation["post"]["operationId"] for operation in document["paths"].values()}
    assert described == {name for name, verb in VERBS.items() if verb.surface == "public"}


def test_it_is_for_those_who_may_enter(site: Site) -> None:
    assert httpx.get(f"{site.url}/v1/openapi.json").status_code == 401


@pytest.mark.parametrize(
    ("verb", "arguments", "status"),
    [
        ("tracking.start_run", {"experiment": "x"}, "200"),
        ("audit.list", {"limit": 3}, "200"),
        ("audit.list", {"limit": "many"}, "default"),
    ],
)
def test_answers_are_as_described(site: Site, document: dict, verb: str, arguments: dict, status: str) -> None:
    operation = document["paths"][f"/v1/{{project}}/verbs/{verb}"]["post"]
    answer = site.call(verb, "editor", **arguments)
    assert (answer.status_code == 200) == (status == "200")
    schema = operation["responses"][status]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(msgspec.json.decode(answer.content))
