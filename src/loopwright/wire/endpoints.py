"""What a gateway takes, as whoever sends it sees it: requests, outcomes, rows that become known."""

from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from loopwright.kernel.clock import parse_moment
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import TooLarge
from loopwright.wire.rows import Rows, to_rows

WHY_MISSING = {
    "NOT_FOUND": "nothing was known of this key by then",
    "EXPIRED": "older than its view lets a value be",
    "NOT_YET_KNOWN": "it had happened, and nobody knew it yet",
    "NULL": "known to be empty",
    "UNKNOWN_CATEGORY": "a value that the model has not learned",
}
"""What the reasons mean by which answers and logs say that a value is missing."""
BATCH_ROWS = 5000
"""Rows of one request; a body that is too large still is halved until it fits."""


class LookedUp(msgspec.Struct, frozen=True):
    """The features of one row as a prediction at that moment would be given them.

    ``at`` is the moment, ISO 8601. ``ages_s`` says how long before it what is behind each value happened, in seconds,
    None where no row is behind it. ``missing`` says why a value is missing: ``NOT_FOUND`` (never known, or no key),
    ``EXPIRED`` (older than its ttl), ``NOT_YET_KNOWN``, ``NULL``, ``UNKNOWN_CATEGORY``. ``left_out`` names the features
    that were not looked up at all, and why.
    """

    at: str
    values: dict[str, float | str | None]
    ages_s: dict[str, float | None]
    missing: dict[str, str]
    left_out: dict[str, str] = {}


def read_looked_up(answer: dict[str, Any]) -> list[LookedUp]:
    """Return the rows of a gateway's answer; each says what was left out."""
    return [convert({**row, "left_out": answer["left_out"]}, LookedUp) for row in answer["rows"]]


def deployment_path(project: str, name: str) -> str:
    """Return the path of a deployment at a gateway."""
    return f"/v1/{quote(project, safe='')}/deployments/{quote(name, safe='')}"


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
        self._path = deployment_path(project, name)

    def predict(self, rows: Rows) -> list[dict[str, Any]]:
        """Return one answer a row: prediction_id, variant, model_version, score.

        Args:
            rows: Dicts or a frame with the request's fields and entity ids.
        """
        answer = self._post(f"{self._path}/predict", {"rows": to_rows(rows)})
        return list(answer["predictions"])

    def features(self, rows: Rows, *, at: int | str | datetime | None = None) -> list[LookedUp]:
        """Look up what predictions for these rows would be given; no prediction is made and nothing is logged.

        Args:
            rows: Dicts or a frame with entity ids, and the fields that on-request functions read. What no row carries
                is left out.
            at: The moment, ISO 8601 or microseconds UTC, of rows that tell none of their own; default now. Replay
                projects have to be told one. An online store answers the last two days before a key's newest row.

        Returns:
            One a row, in their order.

        Raises:
            InvalidInput: A row carries nothing that features are looked up by, or a value is of another kind.
            Conflict: The deployment looks no features up.
            NotFound: No such deployment is live.
        """
        asked: dict[str, Any] = {"rows": to_rows(rows)}
        if at is not None:
            asked["at"] = parse_moment(at, "at")
        answer = self._post(f"{self._path}/features", asked)
        return read_looked_up(answer)

    def label(self, rows: Rows) -> int:
        """Send observed outcomes. Any order, any lateness; the latest of a prediction or a row counts.

        Args:
            rows: Dicts or a frame with ``label`` and ``prediction_id``. Or, in all of them, with the fields that keys
                of rows are made of, or ``row_key``: then a label is of each prediction that was made for the row
                before its outcome was known. Replay projects want ``event_at``, when that was.

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
