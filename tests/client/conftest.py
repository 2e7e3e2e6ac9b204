"""A project folder with rows in it, and a line to a gateway that writes down what it is sent."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

MOST_ROWS = 3_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``data/trips.parquet``."""
    (tmp_path / "data").mkdir()
    pl.DataFrame(
        {
            "trip_id": [1, 2, 3],
            "started_at": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
            "ended_at": [datetime(2026, 1, day, 1, tzinfo=UTC) for day in (1, 2, 3)],
            "city": ["Oslo", "Bergen", "Oslo"],
            "km": [1.5, None, 2.0],
        }
    ).write_parquet(tmp_path / "data" / "trips.parquet")
    return tmp_path


class Gateway:
    """Takes bodies of up to 3,000 rows, as a gateway takes those of up to 10 MB."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        taken = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                rows = next(iter(body.values()), [])
                if "verbs/serving.gateways" in self.path:
                    answer: Any = [{"gateway": "g", "address": url, "acknowledged": 0, "lease_until": 0}]
                elif len(rows) > MOST_ROWS:
                    answer = {"error": {"code": "too_large", "message": "the body is too large"}}
                else:
                    taken.append((self.path, body))
                    answer = {"accepted": len(rows)}
                text = json.dumps(answer).encode()
                self.send_response(413 if "error" in answer else 200)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        url = self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    opened = Gateway()
    yield opened
    opened.close()
