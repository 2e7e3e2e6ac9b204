"""The load generator, a process of its own: keeps connections busy with POSTs and prints what it saw as JSON.

``load.py PORT PATH BODIES CONNECTIONS SECONDS``; each line of BODIES is one body, sent in turn.
"""

import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path

import uvloop

WARM_S = 0.5


class Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, requests: list[bytes], until: float, measure_from: float, done: "asyncio.Future[None]") -> None:
        self.requests, self.until, self.measure_from, self.done = requests, until, measure_from, done
        self.took: list[float] = []
        self.failures = 0
        self._sent, self._at, self._held = 0, 0.0, b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.failures += 1
            self.done.set_result(None)

    def data_received(self, part: bytes) -> None:
        self._held += part
        head_end = self._held.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._held[:head_end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._held) < head_end + 4 + length:
            return
        now = time.perf_counter()
        self.failures += not self._held.startswith(b"HTTP/1.1 200")
        if self._at >= self.measure_from:
            self.took.append(now - self._at)
        self._held = b""
        if now < self.until:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        self._at = time.perf_counter()
        self._transport.write(self.requests[self._sent % len(self.requests)])
        self._sent += 1


async def ask(port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "
    requests = [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]
    loop = asyncio.get_running_loop()
    measure_from = time.perf_counter() + WARM_S
    made = []
    for place in range(connections):
        turned = requests[place % len(requests) :] + requests[: place % len(requests)]
        args = (turned, measure_from + seconds, measure_from, loop.create_future())
        made.append((await loop.create_connection(partial(Connection, *args), "127.0.0.1", port))[1])
    await asyncio.gather(*(one.done for one in made))
    over = time.perf_counter()
    took = sorted(value for one in made for value in one.took)
    return {
        "requests_s": len(took) / (over - measure_from),
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[int(len(took) * 0.99)] * 1e3,
        "failures": sum(one.failures for one in made),
    }


if __name__ == "__main__":
    port, path, file, connections, seconds = sys.argv[1:]
    found = Path(file).read_bytes().splitlines()
    print(json.dumps(uvloop.run(ask(int(port), path, found, int(connections), float(seconds)))))
