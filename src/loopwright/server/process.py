"""The server process: lock, migrate, serve."""

import logging
import os
import socket
import sys

import uvicorn

from loopwright.config import Settings, take_settings
from loopwright.kernel.errors import InvalidInput, LoopwrightError
from loopwright.server.app import create_app, make_context
from loopwright.server.auth import is_loopback
from loopwright.server.context import ServerContext
from loopwright.server.ownership import sole_owner
from loopwright.server.rooms import import_rooms
from loopwright.store.engine import Database
from loopwright.store.lifeline import end_with_parent
from loopwright.store.migrate import upgrade


def check_exposure(settings: Settings) -> bool:
    """Return True if the server may run open.

    Raises:
        InvalidInput: It is bound to an address that others reach, and auth is not on; or the setting is misspelt.
    """
    if settings.auth not in ("", "on", "off"):
        raise InvalidInput("this is no setting of auth", field="LOOPWRIGHT_AUTH", value=settings.auth, rule="on or off")
    if settings.auth == "on":
        return False
    if not is_loopback(settings.host):
        raise InvalidInput(
            "an open server may only listen on the loopback address",
            field="host",
            value=settings.host,
            rule="127.0.0.1 without auth",
            next_step="start with --auth, then create tokens",
        )
    return True


def open_database(settings: Settings) -> Database:
    """Open and migrate the metadata database."""
    import_rooms()
    database = Database(settings.database_url)
    upgrade(database)
    if not database.is_sqlite:
        database.seal()  # what a killed server committed last
    return database


class _Server(uvicorn.Server):
    """Answers the calls that wait for news before it waits for connections to end."""

    def __init__(self, config: uvicorn.Config, context: ServerContext) -> None:
        super().__init__(config)
        self._context = context

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, see the base class."""
        self._context.stop_waiting()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Run the server until it is told to stop."""
    is_open = check_exposure(settings)
    with sole_owner(settings):
        context = make_context(settings, open_database(settings), is_open=is_open)
        config = uvicorn.Config(
            create_app(context),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=75,
        )
        _Server(config, context).run()


def main() -> None:
    """Entry point of ``python -m loopwright.server``."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = take_settings()
    if settings.is_supervised:
        end_with_parent()
    try:
        serve(settings)
    except LoopwrightError as error:
        sys.stderr.write(f"{error}\n")
        os._exit(2)
