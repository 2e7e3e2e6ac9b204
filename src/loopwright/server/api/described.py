"""The verbs as an OpenAPI 3.1 document, for clients in other languages: made from the records that serve the calls."""

import inspect
from functools import cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from loopwright.kernel.documents import to_json
from loopwright.kernel.verbs import VERBS, Verb
from loopwright.kernel.version import VERSION
from loopwright.server.context import ServerContext

_REF = "#/components/schemas/{name}"


class ErrorDetails(msgspec.Struct, omit_defaults=True):
    """What is wrong, where, which rule it breaks, and what to do next."""

    code: str
    message: str
    field: str = ""
    value: Any = None
    rule: str = ""
    next_step: str = ""
    details: dict[str, Any] = {}


class ErrorAnswer(msgspec.Struct):
    """The body of every answer that is no success."""

    error: ErrorDetails


async def get_description(request: Request) -> Response:
    """Answer with the document."""
    context: ServerContext = request.app.state.context
    await context.gatekeeper.find_actor(request)
    return Response(description(), media_type="application/json")


@cache
def description() -> bytes:
    """Return the document as JSON: every verb, query and operation that people and programs may call."""
    verbs = [verb for _, verb in sorted(VERBS.items()) if verb.surface == "public"]
    types = [ErrorAnswer, *(kind for verb in verbs for kind in _types(verb))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    rest = iter(schemas[1:])
    paths = {}
    for verb in verbs:
        *arguments, answer = [next(rest) for _ in _types(verb)]
        paths[f"/v1/{{project}}/verbs/{verb.name}"] = {"post": _operation(verb, arguments, answer, schemas[0])}
    return to_json(
        {
            "openapi": "3.1.0",
            "info": {"title": "Loopwright", "version": VERSION},
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{"token": []}],
        }
    )


def _types(verb: Verb) -> list[Any]:
    return [*(verb.types[name] for name in verb.parameters), verb.types["return"]]


def _operation(verb: Verb, arguments: list[Any], answer: Any, error: Any) -> dict[str, Any]:
    named = list(zip(verb.parameters.values(), arguments, strict=True))
    body = {
        "type": "object",
        "properties": {parameter.name: schema for parameter, schema in named},
        "required": [parameter.name for parameter, _ in named if parameter.default is inspect.Parameter.empty],
    }
    parameters = [{"name": "project", "in": "path", "required": True, "schema": {"type": "string"}}]
    if not (verb.is_query or verb.is_operation):
        key = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}}
        parameters.append({**key, "description": "The same key with the same arguments is done once."})
    return {
        "operationId": verb.name,
        "tags": [verb.name.partition(".")[0]],
        "summary": verb.summary,
        "description": f"{inspect.getdoc(verb.function) or ''}\n\nNeeds the role `{verb.role.name.lower()}`.",
        "parameters": parameters,
        "requestBody": {"required": bool(body["required"]), "content": _json(body)},
        "responses": {
            "200": {"description": "What the verb returns.", "content": _json(answer)},
            "default": {"description": "Why not.", "content": _json(error)},
        },
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
