"""JSON answers and errors of the HTTP edge."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import LoopwrightError, TooLarge

MOST_BODY_BYTES = 64 * 1024 * 1024


class JsonAnswer(Response):
    """Canonical JSON of structs and scalars."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return to_json(content)


def error_answer(error: LoopwrightError) -> Response:
    """Return an error in its JSON form with its status."""
    headers = {"retry-after": "1"} if error.http_status == 503 else None
    return JsonAnswer({"error": error.to_dict()}, status_code=error.http_status, headers=headers)


async def read_body(request: Request, most_bytes: int = MOST_BODY_BYTES) -> bytes:
    """Return the request's body.

    Raises:
        TooLarge: It exceeds the limit; reading stops there.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise TooLarge("this body is too large", field="body", rule=f"at most {most_bytes} bytes")
        parts.append(part)
    return b"".join(parts)
