"""Credentials of the platform's parts. All are derived from the service token, so none of them is stored anywhere.

The service token opens everything, and stays with the server and whoever starts processes. What a part is given opens
what it is for, and nothing can be worked out from it that opens more:

- a **gateway** has a credential that names its address. It speaks for that address alone, so no other one can be made
  the place that the server turns to. What it is asked by the server and workers comes with the *control secret* of that
  very address, which is worth nothing anywhere else.
- a **worker** has a credential that takes jobs and tells how they ended. For each it makes a *job token*, which is good
  in the job's project for as long as that attempt at the job is under way.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import InvalidInput, LoopwrightError

_GATEWAY, _WORKER, _JOB, _CONTROL = "lwg_", "lww_", "lwj_", "lwc_"
MOST_CHARACTERS = 2048
"""Longest credential that is looked at."""


class JobClaim(NamedTuple):
    """The attempt at a job that a token says it was made for."""

    project: str
    job_id: str
    attempt: int


def worker_token(service_token: str) -> str:
    """Return a worker's credential; one that is given stays as it is."""
    if not service_token or service_token.startswith(_WORKER):
        return service_token
    return _WORKER + _sign(service_token, "worker")


def gateway_token(service_token: str, address: str) -> str:
    """Return the credential of the gateway at an address; one that is given stays as it is.

    Raises:
        InvalidInput: It was made for another address.
    """
    if service_token.startswith(_GATEWAY):
        if (named := address_of(service_token)) != address:
            raise InvalidInput(
                "this credential was made for another gateway",
                field="LOOPWRIGHT_GATEWAY_URL",
                value=address,
                rule=named,
                next_step="set the address that it was made for, or make one: loopwright tokens --gateway ADDRESS",
            )
        return service_token
    if not service_token:
        return ""
    control = control_secret(worker_token(service_token), address)
    return f"{_GATEWAY}{_pack(address)}.{_sign(service_token, 'gateway', address)}.{control}"


def control_secret(worker: str, address: str) -> str:
    """Return what the gateway at an address obeys, for who has a worker's credential."""
    return _CONTROL + _sign(worker, "control", address)


def own_control_secret(gateway: str) -> str:
    """Return the control secret that is part of a gateway's credential; empty where there is none."""
    return gateway.rpartition(".")[2] if gateway.startswith(_GATEWAY) else ""


def job_token(worker: str, claim: JobClaim) -> str:
    """Return the token of one attempt at a job, for who has a worker's credential."""
    return f"{_JOB}{_pack(to_json(list(claim)).decode())}.{_sign(worker, 'job', *map(str, claim))}"


def checkpoint_key(service_token: str) -> bytes:
    """Return the key that checkpoints of the event log are signed with where no other is given."""
    return _sign(service_token, "checkpoints").encode()


def is_service_token_of(secret: str, gateway: str) -> bool:
    """Say whether a secret is the service token that a gateway's credential was derived from."""
    address = address_of(gateway)
    if address is None or secret.startswith(_GATEWAY):
        return False
    return _is_same(gateway_token(secret, address), gateway)


def is_worker(secret: str, service_token: str) -> bool:
    """Say whether a secret is the credential of a worker."""
    return bool(service_token) and _is_same(secret, worker_token(service_token))


def address_of(gateway: str) -> str | None:
    """Return the address that a gateway's credential names, proven or not; None where it is no such credential."""
    return _unpack(gateway.removeprefix(_GATEWAY).split(".")[0]) if gateway.startswith(_GATEWAY) else None


def read_gateway(secret: str, service_token: str) -> str | None:
    """Return the address of the gateway whose credential this is; None where it is none of this platform."""
    address = address_of(secret) if service_token and len(secret) <= MOST_CHARACTERS else None
    return address if address is not None and _is_same(secret, gateway_token(service_token, address)) else None


def read_job(secret: str, service_token: str) -> JobClaim | None:
    """Return what a job token was made for; None where it is none of this platform."""
    if not secret.startswith(_JOB) or not service_token or len(secret) > MOST_CHARACTERS:
        return None
    text = _unpack(secret.removeprefix(_JOB).split(".")[0])
    try:
        claim = JobClaim(*from_json((text or "").encode(), tuple[str, str, int], "token"))
    except LoopwrightError:
        return None
    return claim if _is_same(secret, job_token(worker_token(service_token), claim)) else None


def _sign(key: str, *facts: str) -> str:
    return hmac.digest(key.encode(), "\0".join(facts).encode(), "sha256").hex()


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _pack(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unpack(packed: str) -> str | None:
    try:
        return urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except ValueError:
        return None
