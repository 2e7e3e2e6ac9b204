"""JSON answers and errors of the HTTP edge."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import LoopwrightError
from loopwright.wire import bodies

MOST_BODY_BYTES = 64 * 1024 * 1024


JSON_HEADERS = [(b"content-type", b"application/json")]


class JsonAnswer(Response):
    """Canonical JSON of structs and scalars."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return to_json(content)


def error_answer(error: LoopwrightError) -> Response:
    """Return an error in its JSON form with its status."""
    is_later = error.http_status in (429, 503)
    headers = {"retry-after": str(error.details.get("retry_after_s", 1))} if is_later else None
    return JsonAnswer({"error": error.to_dict()}, status_code=error.http_status, headers=headers)


def crash_answer() -> Response:
    """Return what a caller is told of an error that nobody foresaw."""
    message = "something went wrong on our side; the server's log has the details"
    return JsonAnswer({"error": {"code": "internal", "message": message}}, status_code=500)


async def read_body(request: Request, most_bytes: int = MOST_BODY_BYTES) -> bytes:
    """Return the request's body; raises as ``bodies.read_body`` does."""
    return await bodies.read_body(dict(request.headers.raw), request.receive, most_bytes)
