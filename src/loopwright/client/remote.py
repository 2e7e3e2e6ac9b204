"""Using a running project from any program: predict, label, push, append, ask why."""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from loopwright.client.caller import HttpCaller, find_caller
from loopwright.config import load_settings
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput

if TYPE_CHECKING:
    import polars as pl


class Framelike(Protocol):
    """A Polars or pandas frame."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""
        ...


Rows = Iterable[Mapping[str, Any]] | Framelike


class Remote:
    """A project on a running server.

    Args:
        project: Its name.
        caller: How to reach the server.
    """

    def __init__(self, project: str, caller: HttpCaller) -> None:
        self.project = project
        self.caller = caller

    def call(self, verb: str, **args: Any) -> Any:
        """Call any verb or query by name."""
        return self.caller.call(verb, args, self.project)

    def deployment(self, name: str) -> "RemoteDeployment":
        """Return the deployment of that name."""
        return RemoteDeployment(self, name)

    def dataset(self, name: str) -> "RemoteDataset":
        """Return the dataset of that name."""
        return RemoteDataset(self, name)

    def why(self, prediction_id: str) -> Any:
        """Return the provenance of one prediction."""
        return self.call("loop.why", prediction_id=prediction_id)

    def advance(self, to: int | str | datetime) -> Any:
        """Move a replay project's clock and wait until all that was due is done."""
        return self.call("clock.advance", to=parse_moment(to, "to"))

    def close(self) -> None:
        """Let go of the connections."""
        self.caller.close()


class RemoteDeployment:
    """An endpoint: predictions and their labels."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote = remote
        self.name = name
        self._path = f"/v1/{remote.project}/deployments/{name}"

    def predict(self, rows: Rows) -> list[dict[str, Any]]:
        """Return one answer a row: prediction_id, variant, model_version, score.

        Args:
            rows: Dicts or a frame with the request's fields and entity ids.
        """
        answer = self._remote.caller.gateway(f"{self._path}/predict", {"rows": to_rows(rows)})
        return list(answer["predictions"])

    def label(self, rows: Rows) -> int:
        """Send observed outcomes: dicts or a frame with prediction_id and label. Any order, any lateness.

        Returns:
            How many labels were taken.
        """
        return int(self._remote.caller.gateway(f"{self._path}/labels", {"labels": to_rows(rows)})["accepted"])

    def log(self, rows: Rows) -> int:
        """Send predictions that were made elsewhere: id, event_at, score or answer, features.

        Returns:
            How many predictions were taken.
        """
        answer = self._remote.caller.gateway(f"{self._path}/predictions", {"predictions": to_rows(rows)})
        return int(answer["accepted"])


class RemoteDataset:
    """A dataset: appended versions and pushed rows."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote = remote
        self.name = name

    def push(self, rows: Rows) -> int:
        """Send rows as they become known; the online features see them at once.

        Returns:
            How many rows were taken.
        """
        path = f"/v1/{self._remote.project}/datasets/{self.name}/push"
        return int(self._remote.caller.gateway(path, {"rows": to_rows(rows)})["accepted"])

    def append(self, rows: "pl.DataFrame | str | Path", *, reason: str = "", replace: bool = False) -> Any:
        """Upload rows as a new version and return the job that checks and commits it.

        Args:
            rows: A frame, or a Parquet file.
            reason: Why, for the audit trail.
            replace: True if these rows are all there is now.
        """
        blob = self._remote.caller.put_blob(self._remote.project, to_parquet(rows))
        operation = "replace" if replace else "append"
        return self._remote.call(
            "data.start_import", dataset=self.name, operation=operation, blobs=[blob], reason=reason
        )


def connect(url: str = "", *, project: str = "", token: str = "", gateway_url: str = "") -> Remote:
    """Return a project of a running server.

    Args:
        url: The server; default ``LOOPWRIGHT_URL``, else the server that runs on ``./.loopwright``.
        project: Its name; default ``LOOPWRIGHT_PROJECT``.
        token: Access token; default ``LOOPWRIGHT_TOKEN``.
        gateway_url: The gateway, where it is not known to the server.
    """
    settings = load_settings()
    name = project or settings.project
    if not name:
        raise InvalidInput("which project?", field="project", next_step="connect(project=...) or LOOPWRIGHT_PROJECT")
    if not url:
        return Remote(name, find_caller(settings))
    return Remote(name, HttpCaller(url, gateway_url or settings.gateway_url, token or settings.token))


def to_rows(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as dicts that JSON can carry: moments become microseconds UTC, NaN becomes null."""
    if hasattr(rows, "to_dicts"):
        rows = rows.to_dicts()
    elif hasattr(rows, "to_dict"):
        rows = rows.to_dict("records")
    assert isinstance(rows, Iterable)
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, datetime):
        return parse_moment(value)
    return value.item() if hasattr(value, "item") and not isinstance(value, Sequence) else value


def to_parquet(rows: Any) -> bytes:
    """Return the Parquet bytes of a Polars or pandas frame, or of a file."""
    if isinstance(rows, str | Path):
        return Path(rows).read_bytes()
    import polars as pl

    frame = rows if isinstance(rows, pl.DataFrame) else pl.from_pandas(rows)
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()
