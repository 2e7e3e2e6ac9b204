"""What the platform's processes have alike: how uvicorn is set up, logging, an error that ends one and is told."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from loopwright.config import Settings, take_settings
from loopwright.kernel.errors import LoopwrightError
from loopwright.wire.lifeline import end_with_parent

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
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def run_process(run: Callable[[Settings], None], level: int = logging.INFO) -> None:
    """Run a process on the environment's settings; an error of ours is one sentence on standard error and status 2."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = take_settings()
    if settings.is_supervised:
        end_with_parent()
    try:
        run(settings)
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(2)
