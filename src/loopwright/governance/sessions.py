"""Sessions of people at a browser: opaque, short, ended by signing out and with the token that began them.

The browser holds a secret of its own and never the token: what it sends to every port of a host opens the pages of this
server until the evening, and no verb by another way.
"""

import secrets

from loopwright.governance import sql, tokens
from loopwright.governance.types import Actor
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import Unauthenticated
from loopwright.store.tx import Tx

LENGTH_US = 12 * HOUR_US
MOST_OF_ONE = 20
"""Sessions that one token has at once: with the next the oldest ends."""
PREFIX = "lwu_"
"""Begins the secret of a session."""
TOPIC = "tokens"
"""What is told where a session ends, to those who remember who is who."""


def begin(tx: Tx, token: str) -> str:
    """Begin a session with a token and return its secret, which is stored nowhere.

    Raises:
        Unauthenticated: The token is unknown, revoked or expired.
    """
    tokens.authenticate(tx, token)
    digest = digest_bytes(token.encode())
    known = sql.find_token(tx, digest)
    assert known is not None
    secret = PREFIX + secrets.token_urlsafe(32)
    sql.delete_sessions_before(tx, tx.wall_us)
    if sql.delete_oldest_sessions(tx, digest, keep=MOST_OF_ONE - 1):
        tx.wake(TOPIC)
    sql.insert_session(tx, known.project, digest_bytes(secret.encode()), digest, tx.wall_us, tx.wall_us + LENGTH_US)
    return secret


def authenticate(tx: Tx, secret: str) -> Actor:
    """Return whose session this is.

    Raises:
        Unauthenticated: It is unknown or over, or its token is revoked or expired.
    """
    token = sql.find_session(tx, digest_bytes(secret.encode()), tx.wall_us)
    if token is None:
        raise Unauthenticated("this session is over", next_step="sign in again")
    return tokens.actor_of(tx, token)


def end(tx: Tx, secret: str) -> None:
    """End a session at once; one that is over already stays so."""
    sql.delete_session(tx, digest_bytes(secret.encode()))
    tx.wake(TOPIC)
