"""From a request to an actor."""

import hmac
import time
from collections.abc import Mapping

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request, cookie_parser

from loopwright.governance import (
    GATEWAY,
    LOCAL_ACTOR,
    SERVICE_ACTOR,
    SESSION_PREFIX,
    SYSTEM,
    WORKER,
    Actor,
    Dispatcher,
    job_actor,
)
from loopwright.kernel.errors import Unauthenticated
from loopwright.store import sql as store_sql
from loopwright.store.types import Bounds
from loopwright.wire import credentials
from loopwright.wire.exposure import refuse_foreign_host, refuse_foreign_origin, refuse_forwarded
from loopwright.wire.rates import CallerRates

SESSION_COOKIE = "loopwright_session"
REMEMBERED_S = 1.0
"""How long who a token names is remembered."""
MOST_REMEMBERED = 1024
Client = tuple[str, int] | None
"""Address and port that a request came from; None where they are not known."""
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class Gatekeeper:
    """Finds the actor of a request, or refuses it.

    Whoever a token names is remembered for ``REMEMBERED_S``, and forgotten as soon as a commit tells of tokens: one
    that is revoked opens nothing from then on here, and nothing after that time on another server.

    Args:
        dispatcher: Looks tokens up.
        service_token: Secret of the platform, from which its parts' credentials are derived.
        is_open: True lets requests without a token in as ``person:local``; only for loopback.
        rate: Requests a second of one token, and of all strangers at one address; the platform's own parts are not
            counted.
    """

    def __init__(self, dispatcher: Dispatcher, service_token: str, *, is_open: bool, rate: int = 0) -> None:
        self._dispatcher = dispatcher
        self._rates = CallerRates(rate)
        self._service_token = service_token
        self.is_open = is_open
        self._remembered: dict[str, tuple[Actor, float]] = {}
        self._forgotten = 0
        dispatcher.database.subscribe(self._forget)

    def actor(self, request: Request) -> Actor:
        """Return who calls.

        Raises:
            Unauthenticated: Auth is on and no valid token came.
            PermissionDenied: The request comes from a page of another origin, or was led here by another host name.
            TooMany: The token sends too many requests, or strangers at that address do.
        """
        secret, client = _secret(request.headers), request.scope.get("client")
        actor = self._known(request.method, request.headers, secret, client) or self._look_up(secret, client)
        return self._admit(actor, secret, client)

    async def find_actor(self, request: Request) -> Actor:
        """Return who calls, without holding up the event loop; raises like ``actor``."""
        return await self.find(request.method, request.headers, request.scope.get("client"))

    async def find(self, method: str, headers: Mapping[str, str], client: Client) -> Actor:
        """Return who sends a method with these headers, named in small letters; raises like ``actor``."""
        secret = _secret(headers)
        known = self._known(method, headers, secret, client)
        actor = known if known is not None else await run_in_threadpool(self._look_up, secret, client)
        return self._admit(actor, secret, client)

    def begin_session(self, token: str, client: Client) -> str:
        """Begin a session of the person who has a token; return its secret. Nothing is written for whoever has none.

        Raises:
            Unauthenticated: The token is not valid.
            TooMany: It begins too many, or strangers at that address have tried too often.
        """
        self._authenticate(token, "" if client is None else client[0])
        self._rates.count(token)
        return self._dispatcher.begin_session(token)

    def end_session(self, secret: str, client: Client) -> None:
        """End a session, if it is one.

        Raises:
            Unauthenticated: It is none; nothing is written.
            TooMany: It was asked too often, as in ``begin_session``.
        """
        self._authenticate(secret, "" if client is None else client[0])
        self._rates.count(secret)
        self._dispatcher.end_session(secret)

    def _admit(self, actor: Actor, secret: str, client: Client) -> Actor:
        """Count a call of a token, and return its actor with the address that it came from."""
        is_platform = actor is SERVICE_ACTOR or actor.bounds is not None
        if secret and not is_platform:
            self._rates.count(secret)
        if client is None:
            return actor
        return Actor(actor.name, actor.roles, actor.bounds, actor.token_id, client[0])

    def _known(self, method: str, headers: Mapping[str, str], secret: str, client: Client) -> Actor | None:
        """Return the actor of a request whose token need not be looked up, None where it must be."""
        if secret and self._service_token and hmac.compare_digest(secret.encode(), self._service_token.encode()):
            return SERVICE_ACTOR
        self._refuse_foreign_pages(method, headers)
        if secret:
            actor, until = self._remembered.get(secret, (None, 0.0))
            return actor if time.monotonic() < until else None
        if self.is_open:
            return LOCAL_ACTOR
        self._rates.count_stranger("" if client is None else client[0])
        raise Unauthenticated("this server asks for a token", next_step="loopwright login, or set LOOPWRIGHT_TOKEN")

    def _look_up(self, secret: str, client: Client) -> Actor:
        forgotten = self._forgotten
        actor = self._part(secret) or self._authenticate(secret, "" if client is None else client[0])
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[secret] = actor, time.monotonic() + REMEMBERED_S
        if forgotten != self._forgotten:  # what was read may be from before a commit that told of tokens
            self._remembered.clear()
        return actor

    def _authenticate(self, secret: str, address: str) -> Actor:
        self._rates.check_unknown(secret, address)
        try:
            return self._dispatcher.authenticate(secret)
        except Unauthenticated:
            self._rates.count_stranger(address)
            raise

    def _part(self, secret: str) -> Actor | None:
        """Return the part of the platform whose credential this is.

        Raises:
            Unauthenticated: It is a job's, and that attempt at the job is not under way any more.
        """
        if credentials.is_worker(secret, self._service_token):
            return WORKER
        address = credentials.read_gateway(secret, self._service_token)
        if address is not None:
            return msgspec.structs.replace(GATEWAY, bounds=Bounds("gateway", address))
        claim = credentials.read_job(secret, self._service_token)
        if claim is None:
            return None
        job = self._dispatcher.database.read(
            lambda connection: store_sql.find_job(connection, claim.project, claim.job_id)
        )
        if job is None or job.state != "running" or job.attempt != claim.attempt:
            raise Unauthenticated("this attempt at the job is not under way any more", field="job", value=claim.job_id)
        under_way = job
        actor: Actor = self._dispatcher.read(SYSTEM, SERVICE_ACTOR, lambda tx: job_actor(tx, under_way, secret))
        return actor

    def _forget(self, topics: frozenset[str]) -> None:
        if "tokens" in topics:
            self._forgotten += 1
            self._remembered.clear()

    def _refuse_foreign_pages(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse DNS rebinding (a foreign Host on an open server) and cross-site writes (a foreign Origin)."""
        host = headers.get("host", "")
        if self.is_open:
            refuse_foreign_host(host, "server")
            refuse_forwarded(headers, "server")
        if method not in _SAFE_METHODS:
            refuse_foreign_origin(headers.get("origin"), host)


def _secret(headers: Mapping[str, str]) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return "" if secret.strip().startswith(SESSION_PREFIX) else secret.strip()
    session = cookie_parser(headers["cookie"]).get(SESSION_COOKIE, "") if "cookie" in headers else ""
    return session if session.startswith(SESSION_PREFIX) else ""  # a token has no business in a cookie
