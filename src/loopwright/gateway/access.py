"""Who may ask this gateway: tokens by their digest, or the loopback address of an open one."""

import hmac
from collections.abc import Callable, Mapping

from loopwright.governance import EVERY_PROJECT, Token
from loopwright.kernel.clock import Clock
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import PermissionDenied, Unauthenticated
from loopwright.kernel.verbs import Role
from loopwright.wire.credentials import is_service_token_of, own_control_secret
from loopwright.wire.exposure import refuse_foreign_host, refuse_foreign_origin, refuse_forwarded
from loopwright.wire.rates import CallerRates

READERS = frozenset(Role)
WRITERS = frozenset(Role) - {Role.VIEWER}
_MOST_HOSTS = 1000
_MOST_STRANGE = 10_000


class Gatekeeper:
    """Lets a request in or refuses it, by what the gateway knows.

    Args:
        tokens: Returns the live tokens by digest of their secret.
        credential: This gateway's own.
        is_open: True lets requests without a token in; only for loopback.
        clock: Wall time, for tokens that end.
        rate: Requests a second of one token, and of all strangers at one address; 0 for any number. The platform's own
            are not counted.
    """

    def __init__(
        self, tokens: Callable[[], Mapping[str, Token]], credential: str, *, is_open: bool, clock: Clock, rate: int = 0
    ) -> None:
        self._tokens, self._credential, self.is_open, self._clock = tokens, credential, is_open, clock
        self._rates = CallerRates(rate)
        self._control = own_control_secret(credential).encode()
        self._hosts: set[bytes] = set()
        self._strange: set[str] = set()
        """Digests of secrets that came and were not known. Nobody can send a token before it is made."""

    def check(self, headers: Mapping[bytes, bytes], project: str | None, roles: frozenset[Role] = READERS) -> None:
        """Let the request pass or refuse it.

        Args:
            headers: By lower-case name.
            project: Whose; ``EVERY_PROJECT`` for what shows all of them, None for what is only for the platform itself.
            roles: Those that may.

        Raises:
            Unauthenticated: No valid token came, and the gateway is not open.
            PermissionDenied: The token is for another project or too weak a role, or another site led the request here.
        """
        token = self._token(headers)
        if token is None:
            return
        if project is None or token.project not in (project, EVERY_PROJECT) or token.role not in roles:
            raise PermissionDenied(
                f"{token.actor} may not do this here",
                field="role",
                value=f"{token.role.value} in {token.project}",
                rule="a role in this project; at least editor to write",
                next_step="ask an admin of the project for that role",
            )

    def scope(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the project that the caller may read, or ``EVERY_PROJECT``.

        Raises:
            Unauthenticated: No valid token came, and the gateway is not open.
            PermissionDenied: Another site led the request here.
        """
        token = self._token(headers)
        return EVERY_PROJECT if token is None else token.project

    def count(self, headers: Mapping[bytes, bytes], client: str) -> bool:
        """Count a request of whoever must send a token; say whether it may be one that was made a moment ago.

        It may until ``settle`` is told of it.

        Raises:
            TooMany: The token sends too many requests, or strangers at this address do, with a token or none.
        """
        secret = _secret(headers)
        if not secret:
            if not self.is_open:
                self._rates.count_stranger(client)
            return False
        if self._is_control(secret):
            return False
        digest = digest_bytes(secret)
        if digest in self._tokens():
            self._rates.count(digest)
            return False
        if self._is_service(secret):
            return False
        self._rates.count_stranger(client)
        return digest not in self._strange

    def settle(self, headers: Mapping[bytes, bytes]) -> None:
        """Take note that the server was asked for the token that came: what it does not know is none."""
        if len(self._strange) > _MOST_STRANGE:
            self._strange.clear()
        self._strange.add(digest_bytes(_secret(headers)))

    def known(self, headers: Mapping[bytes, bytes]) -> Token | None:
        """Return the token that came, if it is one, whatever it opens."""
        secret = _secret(headers)
        return self._tokens().get(digest_bytes(secret)) if secret else None

    def _token(self, headers: Mapping[bytes, bytes]) -> Token | None:
        """Return the caller's token; None for the platform itself, and for everybody at an open gateway."""
        secret = _secret(headers)
        if secret and self._is_control(secret):
            return None
        self._refuse_foreign(headers)
        if not secret:
            if not self.is_open:
                raise Unauthenticated("this gateway asks for a token", next_step="send Authorization: Bearer <token>")
            return None
        token = self._tokens().get(digest_bytes(secret))
        if token is None and self._is_service(secret):
            return None  # an operator looks
        if token is None or (token.expires_at is not None and token.expires_at <= self._clock.now_us()):
            raise Unauthenticated("this token is not valid", next_step="loopwright login, or ask an admin for a token")
        return token

    def _is_control(self, secret: bytes) -> bool:
        return bool(self._control) and hmac.compare_digest(secret, self._control)

    def _is_service(self, secret: bytes) -> bool:
        return is_service_token_of(secret.decode("latin-1"), self._credential)

    def _refuse_foreign(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse DNS rebinding (a foreign Host on an open gateway) and cross-site writes (a foreign Origin)."""
        host = headers.get(b"host", b"")
        if self.is_open and host not in self._hosts:
            refuse_foreign_host(host.decode("latin-1"), "gateway")
            if len(self._hosts) > _MOST_HOSTS:
                self._hosts.clear()
            self._hosts.add(host)
        if self.is_open:
            refuse_forwarded((name.decode("latin-1") for name in headers), "gateway")
        origin = headers.get(b"origin")
        if origin:
            refuse_foreign_origin(origin.decode("latin-1"), host.decode("latin-1"))


def _secret(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, secret = headers.get(b"authorization", b"").partition(b" ")
    return secret if scheme.lower() == b"bearer" else b""
