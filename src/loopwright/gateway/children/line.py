"""A child's end of the socket to its gateway."""

import select
import socket
from typing import Any

from loopwright.gateway.children.messages import Frames, Message, framed, read_to_child

_MOST_READ = 1 << 16


class Line:
    """The socket as messages; it waits where the gateway's end does not.

    Args:
        connection: The socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket, self._frames = connection, Frames()

    def read(self, *, is_waiting: bool) -> list[Any]:
        """Return every message that is there; the next one at least if ``is_waiting``.

        Raises:
            EOFError: The gateway has hung up.
        """
        messages: list[Any] = []
        while (is_waiting and not messages) or select.select([self._socket], [], [], 0)[0]:
            piece = self._socket.recv(_MOST_READ)
            if not piece:
                raise EOFError
            messages += [read_to_child.decode(body) for body in self._frames.feed(piece)]
        return messages

    def write(self, message: Message) -> None:
        """Send a message."""
        self._socket.sendall(framed(message))
