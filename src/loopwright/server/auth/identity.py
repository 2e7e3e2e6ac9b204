"""From a request to an actor."""

import hmac

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.errors import Unauthenticated
from loopwright.wire.exposure import refuse_foreign_host, refuse_foreign_origin

TOKEN_COOKIE = "loopwright_token"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class Gatekeeper:
    """Finds the actor of a request, or refuses it.

    Args:
        dispatcher: Looks tokens up.
        service_token: Secret of the platform's own processes.
        is_open: True lets requests without a token in as ``person:local``; only for loopback.
    """

    def __init__(self, dispatcher: Dispatcher, service_token: str, *, is_open: bool) -> None:
        self._dispatcher = dispatcher
        self._service_token = service_token
        self.is_open = is_open

    def actor(self, request: Request) -> Actor:
        """Return who calls.

        Raises:
            Unauthenticated: Auth is on and no valid token came.
            PermissionDenied: The request comes from a page of another origin, or was led here by another host name.
        """
        secret = self._secret(request)
        return self._known(request, secret) or self._dispatcher.authenticate(secret)

    async def find_actor(self, request: Request) -> Actor:
        """Return who calls, without holding up the event loop; raises like ``actor``."""
        secret = self._secret(request)
        known = self._known(request, secret)
        return known if known is not None else await run_in_threadpool(self._dispatcher.authenticate, secret)

    def _known(self, request: Request, secret: str) -> Actor | None:
        """Return the actor of a request that shows no token of the database's, None where one must be looked up."""
        if secret and hmac.compare_digest(secret.encode(), self._service_token.encode()):
            return SERVICE_ACTOR
        self._refuse_foreign_pages(request)
        if secret:
            return None
        if self.is_open:
            return LOCAL_ACTOR
        raise Unauthenticated("this server asks for a token", next_step="loopwright login, or set LOOPWRIGHT_TOKEN")

    def _secret(self, request: Request) -> str:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return secret.strip()
        return request.cookies.get(TOKEN_COOKIE, "")

    def _refuse_foreign_pages(self, request: Request) -> None:
        """Refuse DNS rebinding (a foreign Host on an open server) and cross-site writes (a foreign Origin)."""
        host = request.headers.get("host", "")
        if self.is_open:
            refuse_foreign_host(host, "server")
        if request.method not in _SAFE_METHODS:
            refuse_foreign_origin(request.headers.get("origin"), host)
