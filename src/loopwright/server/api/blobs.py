"""Blobs over HTTP: upload by content, read by digest, both inside one project."""

import tempfile
from pathlib import Path
from typing import IO

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from loopwright.governance import SERVICE_ACTOR, Actor
from loopwright.kernel.errors import NotFound, PermissionDenied, TooLarge
from loopwright.kernel.verbs import Role
from loopwright.server.answers import JsonAnswer
from loopwright.server.context import ServerContext
from loopwright.store import sql as store_sql
from loopwright.store.types import BlobRef
from loopwright.store.unwritable import TAKES_NOTHING, unwritable

MOST_BLOB_BYTES = 1024 * 1024 * 1024
_HEADERS = {"x-content-type-options": "nosniff", "content-disposition": "attachment"}
"""A blob is what somebody uploaded: no browser is to take it for a page of ours."""


async def put_blob(request: Request) -> Response:
    """Store the body and answer its digest and size."""
    context: ServerContext = request.app.state.context
    project = request.path_params["project"]
    actor = await _let_in(context, request, can_write=True)
    await run_in_threadpool(context.dispatcher.read, project, actor, lambda tx: tx.project)  # it must exist
    folder = context.settings.state_dir / "uploads"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as draft:  # closing it writes what is left of it
            await _receive(request, draft)
            return JsonAnswer(await run_in_threadpool(_store, context, project, actor, Path(draft.name)))
    except OSError as error:
        if error.errno not in TAKES_NOTHING:
            raise
        raise unwritable(error, folder) from None


async def _receive(request: Request, draft: IO[bytes]) -> None:
    """Write the body to a file part by part, so that no upload has to fit into memory."""
    async for part in request.stream():
        draft.write(part)
        if draft.tell() > MOST_BLOB_BYTES:
            raise TooLarge("this blob is too large", field="body", rule=f"at most {MOST_BLOB_BYTES} bytes")
    draft.flush()


def _store(context: ServerContext, project: str, actor: Actor, draft: Path) -> BlobRef:
    ref = context.blobs.put_file(draft)
    # The bytes themselves came: that is the right to refer to them.
    service = msgspec.structs.replace(actor, roles=SERVICE_ACTOR.roles, bounds=None)
    context.dispatcher.write(project, service, lambda tx: tx.keep_blobs(ref))
    return ref


async def get_blob(request: Request) -> Response:
    """Answer the bytes of a blob that this project refers to."""
    context: ServerContext = request.app.state.context
    project, digest = request.path_params["project"], request.path_params["digest"]
    actor = await _let_in(context, request, can_write=False)
    found = await run_in_threadpool(
        context.dispatcher.read, project, SERVICE_ACTOR, lambda tx: store_sql.find_blob(tx.connection, project, digest)
    )
    if found is None:
        raise NotFound("this project has no such blob", field="digest", value=digest)
    path = await run_in_threadpool(context.blobs.path, digest)
    await run_in_threadpool(context.noted_reads.note_blob, actor, project, digest)
    return FileResponse(path, media_type="application/octet-stream", headers=_HEADERS | {"etag": f'"{digest}"'})


async def _let_in(context: ServerContext, request: Request, *, can_write: bool) -> Actor:
    """Return who asks; of one that is refused there is an event, as of a call."""
    project, what = request.path_params["project"], "blobs.write" if can_write else "blobs.read"
    actor = await context.find_actor(request.method, request.headers, request.scope.get("client"), what, project)
    try:
        _require(actor, project, can_write=can_write)
    except PermissionDenied:
        await context.denials.tell(actor, what, project)
        raise
    return actor


def _require(actor: Actor, project: str, *, can_write: bool) -> None:
    if actor.bounds is not None and actor.bounds.part != "job":  # gateways and workers have the store itself
        raise PermissionDenied(
            f"{actor.name} may not use blobs of {project} here",
            field="role",
            value=actor.bounds.part,
            rule="only what this part of the platform is for",
        )
    role = actor.role_in(project)
    if role is None or (can_write and role is Role.VIEWER):
        raise PermissionDenied(
            f"{actor.name} may not {'write' if can_write else 'read'} blobs of {project}",
            rule="editor to write, viewer to read",
        )
