"""A Redis as what holds the stores of several projects: who may reach what there, and what goes with a project."""

import hashlib
import hmac
import secrets
from contextlib import suppress
from itertools import islice
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from loopwright.features.online.redis_client import client_of, shown, text_of, translated
from loopwright.features.online.redis_scripts import COMMANDS, SCRIPTS
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import check_name

SECRET = "lw:secret"
"""Key of what passwords of user code follow from; no user of a project may read it."""
_USER = "lw-"
"""What the names of users begin with that code of projects gets."""
_secrets: dict[str, bytes] = {}
"""What each Redis kept last, by its address."""
_KEYS_AT_ONCE = 1000
_NO_LOG = "where it ends it comes back older, and its views are to be filled again: set appendonly yes"
_LETS_IN_WITHIN_S = 1.5
"""Whoever starts processes waits no longer for one to be let in, and asks once: it tries again by itself."""


def restricted_url(url: str, project: str) -> str:
    """Return the address under which user code of a project reaches its store, and nothing else of that Redis.

    Its user in Redis is made, or made again, and what it may run there is brought. The password follows from a secret
    that this Redis keeps, so that several gateways give it the same, and not from that of the address, which whoever
    has the one could guess at.

    Args:
        url: As the platform reaches it, without a project.
        project: Whose code it is.

    Raises:
        InvalidInput: That address bears no password: whoever runs code there would need none either.
        Unavailable: Redis does not answer, or its user may make no others.
    """
    parts = urlsplit(url)
    if not parts.password:
        raise InvalidInput(
            "user code may reach only what is its project's, and this Redis asks nobody for a password",
            field="LOOPWRIGHT_ONLINE",
            value=shown(url),
            next_step="give it one (requirepass, or a user that may use ACL), or LOOPWRIGHT_WALLS=off",
        )
    rights = [f"~lw:{{{project}}}:*", "resetchannels", "-@all", *(f"+{command}" for command in COMMANDS)]
    client, user = client_of(url, _LETS_IN_WITHIN_S, tries=1), f"{_USER}{project}"
    with translated(url), client.pipeline(transaction=False) as several:
        password = hmac.new(_kept_secret(client, url), project.encode(), hashlib.sha256).hexdigest()
        for script in SCRIPTS.values():  # which this user may run and not bring
            several.script_load(script)
        several.execute_command("ACL", "SETUSER", user, "reset", "on", f">{password}", *rights)
        several.execute()
    client.close()
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{password}@{host}", fragment=project))


def _kept_secret(client: Any, url: str) -> bytes:
    """Return the secret that a Redis keeps; one that lost it is given that which this process knows, else a new one."""
    found: bytes | None = client.get(SECRET)  # one without room takes none, and answers
    if found is None:
        with client.pipeline() as both:
            both.setnx(SECRET, _secrets.get(url) or secrets.token_hex(32))
            _, found = both.get(SECRET).execute()
    assert found is not None
    _secrets[url] = found
    return found


def projects(url: str) -> set[str]:
    """Return the projects of which a Redis holds features, or the user of their code.

    Whoever has not heard yet that a project ended may let its code in again after all else was removed.

    Raises:
        Unavailable: Redis does not answer.
    """
    from redis.exceptions import NoPermissionError

    client = client_of(url)
    with translated(url):
        found = {_project_of(key) for key in client.scan_iter(match="lw:{*", count=_KEYS_AT_ONCE)}
        with suppress(NoPermissionError):  # whoever may make no users has made none
            users = map(text_of, client.execute_command("ACL", "USERS"))
            found |= {_named(user.removeprefix(_USER)) for user in users if user.startswith(_USER)}
    client.close()
    return found - {""}


def remove(url: str, project: str) -> None:
    """Remove what a Redis holds of a project, and before that the user of its code, which would put more there.

    Raises:
        Unavailable: Redis does not answer.
    """
    from redis.exceptions import NoPermissionError

    client = client_of(url)
    with translated(url):
        if urlsplit(url).password:
            with suppress(NoPermissionError):  # whoever may make no users has made none
                client.execute_command("ACL", "DELUSER", f"{_USER}{project}")
        keys = client.scan_iter(match=f"lw:{{{project}}}:*", count=_KEYS_AT_ONCE)
        while some := list(islice(keys, _KEYS_AT_ONCE)):
            client.unlink(*some)
    client.close()


def caveat(url: str) -> str:
    """Return what of how a Redis is set up loses rows that it took; empty for nothing, or where nobody may know.

    Raises:
        Unavailable: Redis does not answer.
    """
    from redis.exceptions import NoPermissionError

    found, client = {}, client_of(url)
    with translated(url), suppress(NoPermissionError):
        found = client.info("persistence")
    client.close()
    return "" if found.get("aof_enabled") != 0 else _NO_LOG


def _project_of(key: bytes) -> str:
    """Return the project that a key is of; nothing of one that no project has, which others' code may put there."""
    name = text_of(key).removeprefix("lw:{").partition("}:")[0]
    return _named(name) if key.startswith(f"lw:{{{name}}}:".encode()) else ""


def _named(name: str) -> str:
    """Return a name that a project may have; nothing of another."""
    try:
        return check_name(name)
    except InvalidInput:
        return ""


class RedisServer:
    """A Redis as what holds the stores of several projects."""

    restricted_url = staticmethod(restricted_url)
    projects = staticmethod(projects)
    remove = staticmethod(remove)
    caveat = staticmethod(caveat)
