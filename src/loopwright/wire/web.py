"""How uvicorn is set up, for the processes that answer over HTTP; a worker does not, and never imports it."""

from typing import Any

import uvicorn

from loopwright.wire.connections import LimitedProtocol

GRACE_S = 5
"""How long a stop waits for answers under way."""
KEEP_ALIVE_S = 75
"""How long an idle connection stays open."""


def uvicorn_config(app: Any, host: str, port: int) -> uvicorn.Config:
    """Return the set-up of an HTTP server that stands alone: no proxy headers are believed, no version is told."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=LimitedProtocol,
        ws="none",
        log_level="error",  # what a stranger sends is answered, and fills no log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
