"""What a server promises of every request, whoever sends it: who may call what, and what a refusal says."""

from collections.abc import Iterator

from loopwright.governance import SYSTEM
from loopwright.kernel.verbs import Role, Verb
from tests.fuzz.arguments import read_once

HEADERS: list[tuple[str, bytes]] = [
    *(("content-type", value) for value in (b"text/html", b"application/x-www-form-urlencoded", b"\xff", b"")),
    *(("idempotency-key", value) for value in (b"", b"k", b"x" * 5000, b"\xff\xfe", b"a b", b"\xe2\x82\xac")),
    *(("content-encoding", value) for value in (b"gzip", b"br")),
    *(("origin", b"https://elsewhere.example"), ("x-forwarded-for", b"10.0.0.1"), ("content-length", b"7")),
    *(("cookie", value) for value in (b"loopwright_session=lws_x", b"=;=;\xff", b"a" * 9000)),
]
"""Headers that ask for something odd, or are."""
UNFORESEEN = ("this already exists or is still referred to", "a value does not fit", "the database did not answer")
"""How errors of a database begin that no rule of ours came before."""
STRENGTH = {"viewer": 1, "editor": 2, "job": 2, "approver": 3, "admin": 4}


def may_call(called: Verb, role: str, project: str) -> bool:
    """Say what the verb's declaration promises of a role."""
    if called.name == "projects.list" and project == SYSTEM:
        return True
    if called.is_above_projects and project != SYSTEM:
        return False
    if role in ("worker", "gateway"):
        return role in called.parts
    if role in ("platform", "forged"):
        return role == "platform"
    if project != ("other" if role == "stranger" else "flights"):
        return False
    if role == "job" and called.role is Role.SERVICE:
        return role in called.parts
    strength = 4 if role == "stranger" else STRENGTH.get(role, 0)
    return role == "service" or (called.role is not Role.SERVICE and strength >= STRENGTH[called.role.value])


def wrongly_told(body: bytes) -> Iterator[str]:
    """Yield what a refusal lacks: what is wrong, and for what was sent wrong, where, and what would be right."""
    try:
        error = read_once(body)["error"]
    except (ValueError, KeyError, TypeError):
        yield f"no error in JSON: {body[:200]!r}"
        return
    if not error.get("message") or error["message"].startswith(UNFORESEEN):
        yield f"says nothing: {error}"
    if error.get("code") == "invalid_input" and "field" not in error:
        yield f"names no field: {error}"
