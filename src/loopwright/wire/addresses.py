"""Addresses that stand for each other: servers on one database, or gateways; whoever answered last is asked first."""

import threading
from collections.abc import Iterable


class Addresses:
    """The addresses of several that do the same. Threads share it, so that one notices for all who is gone.

    Args:
        urls: At least one; a text separates them by commas.
    """

    def __init__(self, urls: str | Iterable[str]) -> None:
        split = urls.split(",") if isinstance(urls, str) else urls
        self.urls = tuple(dict.fromkeys(url.strip().rstrip("/") for url in split)) or ("",)
        self._place = 0
        self._turn = threading.Lock()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.urls)

    @property
    def current(self) -> str:
        """The one to ask."""
        return self.urls[self._place]

    def pass_over(self, url: str) -> None:
        """Go on to the next one from one that did not answer, unless another caller has done so."""
        with self._turn:
            if self.urls[self._place] == url:
                self._place = (self._place + 1) % len(self.urls)


def base_url(host: str, port: int) -> str:
    """Return where something that listens on a host and port answers.

    >>> base_url("127.0.0.1", 8400), base_url("::1", 8400)
    ('http://127.0.0.1:8400', 'http://[::1]:8400')
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
