"""Blobs over HTTP: upload by content, read by digest, both inside one project."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from loopwright.governance import SERVICE_ACTOR, Actor
from loopwright.kernel.errors import NotFound, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.server.answers import JsonAnswer, read_body
from loopwright.server.context import ServerContext
from loopwright.store import sql as store_sql
from loopwright.store.types import BlobRef

MOST_BLOB_BYTES = 1024 * 1024 * 1024


async def put_blob(request: Request) -> Response:
    """Store the body and answer its digest and size."""
    context: ServerContext = request.app.state.context
    actor = context.gatekeeper.actor(request)
    project = request.path_params["project"]
    _require(actor, project, can_write=True)
    body = await read_body(request, MOST_BLOB_BYTES)
    return JsonAnswer(await run_in_threadpool(_store, context, project, actor, body))


def _store(context: ServerContext, project: str, actor: Actor, body: bytes) -> BlobRef:
    ref = context.blobs.put(body)
    context.dispatcher.write(project, actor, lambda tx: tx.keep_blobs(ref))
    return ref


async def get_blob(request: Request) -> Response:
    """Answer the bytes of a blob that this project refers to."""
    context: ServerContext = request.app.state.context
    actor = context.gatekeeper.actor(request)
    project, digest = request.path_params["project"], request.path_params["digest"]
    _require(actor, project, can_write=False)
    found = await run_in_threadpool(
        context.dispatcher.read, project, SERVICE_ACTOR, lambda tx: store_sql.find_blob(tx.connection, project, digest)
    )
    if found is None:
        raise NotFound("this project has no such blob", field="digest", value=digest)
    path = await run_in_threadpool(context.blobs.path, digest)
    return FileResponse(path, media_type="application/octet-stream", headers={"etag": f'"{digest}"'})


def _require(actor: Actor, project: str, *, can_write: bool) -> None:
    role = actor.role_in(project)
    if role is None or (can_write and role is Role.VIEWER):
        raise PermissionDenied(
            f"{actor.name} may not {'write' if can_write else 'read'} blobs of {project}",
            rule="editor to write, viewer to read",
        )
