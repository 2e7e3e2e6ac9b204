"""The server process: lock, migrate, serve."""

import socket

import uvicorn

from loopwright.config import Settings
from loopwright.rooms import import_rooms
from loopwright.server.app import create_app, make_context
from loopwright.server.context import ServerContext
from loopwright.server.ownership import sole_owner
from loopwright.store.backups import refuse_half_restored
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade
from loopwright.wire.exposure import may_run_open
from loopwright.wire.process import run_process
from loopwright.wire.web import uvicorn_config


def open_database(settings: Settings) -> Database:
    """Open and migrate the metadata database."""
    import_rooms()
    database = Database(settings.database_url)
    try:
        refuse_half_restored(database)
        upgrade(database)
        if not database.is_sqlite:
            database.seal()  # what a killed server committed last
    except BaseException:
        database.close()
        raise
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
    is_open = may_run_open(settings, "server")
    with sole_owner(settings):
        context = make_context(settings, open_database(settings), is_open=is_open)
        config = uvicorn_config(create_app(context), settings.host, settings.port)
        _Server(config, context).run()


def main() -> None:
    """Entry point of ``python -m loopwright.server``."""
    run_process(serve)
