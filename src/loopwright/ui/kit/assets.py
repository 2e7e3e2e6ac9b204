"""Static files: read once, addressed by a digest of their content so that browsers may keep them for ever."""

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from loopwright.kernel.errors import NotFound
from loopwright.server import error_answer

FOLDER = Path(__file__).parents[1] / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Return content and digest of each file that may be served, by its path below the folder."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _KINDS:
            body = path.read_bytes()
            found[path.relative_to(FOLDER).as_posix()] = (body, hashlib.sha256(body).hexdigest()[:12])
    return found


def asset_path(name: str) -> str:
    """Return the address of a static file; its digest is part of it."""
    return f"/static/{name}?v={_files()[name][1]}"


async def serve_asset(request: Request) -> Response:
    """Answer one static file."""
    name = request.path_params["name"]
    if name not in _files():
        return error_answer(NotFound("no such file", field="path", value=name))
    body, digest = _files()[name]
    is_exact = request.query_params.get("v") == digest
    headers = {
        "etag": f'"{digest}"',
        "x-content-type-options": "nosniff",
        "cache-control": "public, max-age=31536000, immutable" if is_exact else "no-cache",
    }
    if request.headers.get("if-none-match") == f'"{digest}"':
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=_KINDS[Path(name).suffix], headers=headers)
