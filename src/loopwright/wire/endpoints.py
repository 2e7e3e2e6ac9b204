"""What a gateway takes, as whoever sends it sees it: requests, outcomes, rows that become known."""

from typing import Any, Protocol
from urllib.parse import quote

from loopwright.kernel.errors import TooLarge
from loopwright.wire.rows import Rows, to_rows

BATCH_ROWS = 5000
"""Rows of one request; a body that is too large still is halved until it fits."""


class Post(Protocol):
    """Reaches a gateway."""

    def __call__(self, path: str, document: Any) -> Any:
        """Send a document to a path under one key, again where its answer was lost, and return what is answered."""


class Endpoint:
    """A deployment at the gateways.

    Args:
        project: Its project.
        name: Its name.
        post: Reaches a gateway.
    """

    def __init__(self, project: str, name: str, post: Post) -> None:
        self.name = name
        self._post = post
        self._path = f"/v1/{quote(project, safe='')}/deployments/{quote(name, safe='')}"

    def predict(self, rows: Rows) -> list[dict[str, Any]]:
        """Return one answer a row: prediction_id, variant, model_version, score.

        Args:
            rows: Dicts or a frame with the request's fields and entity ids.
        """
        answer = self._post(f"{self._path}/predict", {"rows": to_rows(rows)})
        return list(answer["predictions"])

    def label(self, rows: Rows) -> int:
        """Send observed outcomes: dicts or a frame with prediction_id and label. Any order, any lateness.

        Returns:
            How many labels were taken.
        """
        return self._send("labels", to_rows(rows))

    def log(self, rows: Rows) -> int:
        """Send predictions that were made elsewhere: id, event_at, score or answer, features.

        Returns:
            How many predictions were taken.
        """
        return self._send("predictions", to_rows(rows))

    def _send(self, what: str, rows: list[dict[str, Any]], most: int = BATCH_ROWS) -> int:
        """Send rows in batches; each is taken whole or not at all."""
        if len(rows) > most:
            return sum(self._send(what, rows[first : first + most], most) for first in range(0, len(rows), most))
        try:
            answer = self._post(f"{self._path}/{what}", {what: rows}) if rows else {"accepted": 0}
            return int(answer["accepted"])
        except TooLarge:
            if len(rows) == 1:
                raise
            return self._send(what, rows, -(-len(rows) // 2))


def push_rows(project: str, dataset: str, rows: Rows, post: Post) -> int:
    """Send rows of a dataset as they become known; return how many were taken."""
    path = f"/v1/{quote(project, safe='')}/datasets/{quote(dataset, safe='')}/push"
    return int(post(path, {"rows": to_rows(rows)})["accepted"])
