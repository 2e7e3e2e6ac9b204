"""Proxies in front of a platform: nginx where it is installed, and one of our own that does as nginx does."""

import http.client
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import free_port
from tests.waiting import wait_until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}
_CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/answers; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {servers}
}}
"""
_SERVER = """
  server {{
    listen 127.0.0.1:{port}; client_max_body_size 0;
    location / {{
      proxy_pass {url}; proxy_set_header Host loopwright.example; proxy_read_timeout 1800s;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }}
  }}
"""


@contextmanager
def nginx(folder: Path, *urls: str) -> Iterator[list[str]]:
    """Yield where nginx answers for each of some addresses."""
    assert NGINX is not None
    ports = [free_port() for _ in urls]
    servers = "".join(_SERVER.format(port=port, url=url) for port, url in zip(ports, urls, strict=True))
    config = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # its own user may not write into our folder
    config.write_text(_CONFIG.format(folder=folder, servers=servers, user=user))
    process = subprocess.Popen([NGINX, "-c", str(config), "-e", str(folder / "error.log")])
    try:
        wait_until(lambda: (folder / "nginx.pid").exists())
        yield [f"http://127.0.0.1:{port}" for port in ports]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def our_own(_folder: Path, *urls: str) -> Iterator[list[str]]:
    """Yield where a plain proxy answers for each of some addresses."""
    servers = [_Proxy(url) for url in urls]
    try:
        yield [f"http://127.0.0.1:{server.server_address[1]}" for server in servers]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


class _Proxy(ThreadingHTTPServer):
    """Asks anew for each request, in HTTP/1.0 words, under its public name; 502 where nobody answers."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        self.upstream = urlsplit(url)
        super().__init__(("127.0.0.1", free_port()), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def do_PUT(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        passed = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP | {"host"}}
        passed |= {"Host": "loopwright.example", "Connection": "close"}
        passed |= {"X-Forwarded-For": self.client_address[0], "X-Forwarded-Proto": "https"}
        line = http.client.HTTPConnection(str(self.server.upstream.hostname), self.server.upstream.port, timeout=60)
        try:
            line.request(self.command, self.path, body, passed)
            answer = line.getresponse()
            status, headers, told = answer.status, answer.getheaders(), answer.read()
        except OSError:
            status, headers, told = 502, [("Content-Type", "text/html")], b"<h1>502 Bad Gateway</h1>"
        finally:
            line.close()
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
