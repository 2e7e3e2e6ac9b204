"""What runs in a child: its first message says as what it serves its gateway."""

import importlib
import socket
from contextlib import suppress

from loopwright.gateway.children.answering import AnsweringDesk, load
from loopwright.gateway.children.line import Line
from loopwright.gateway.children.messages import Load, Loaded, Open
from loopwright.gateway.children.surroundings import settle_in
from loopwright.gateway.children.taking import TakingDesk
from loopwright.gateway.marks import Page
from loopwright.gateway.releases.loading import hiding_optional_libraries
from loopwright.kernel.errors import LoopwrightError


def prepare(name: str) -> None:
    """Import a library or plugin before children are forked, so that each of them has it for nothing."""
    with suppress(Exception), hiding_optional_libraries(name):  # whoever needs it tells why it cannot be had
        importlib.import_module(name)


def serve(connection: socket.socket, page: Page) -> None:
    """Serve a gateway until it hangs up.

    Args:
        connection: The socket to it.
        page: On which it reads what is at work.
    """
    line = Line(connection)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        message = line.read(is_waiting=True)[0]
        assert isinstance(message, Load | Open)
        try:
            settle_in(message.around)
        except LoopwrightError as error:
            line.write(Loaded(message.number, why_not=error.to_dict()))
            return
        if isinstance(message, Load):
            runtime = load(line, message, page)
            if runtime is not None:
                AnsweringDesk(line, runtime).run()
        else:
            TakingDesk(line, message, page).run()
