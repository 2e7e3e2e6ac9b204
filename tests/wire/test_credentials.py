"""Credentials of the platform's parts: each opens what it is for, and leads to no other."""

import pytest

from loopwright.kernel.errors import InvalidInput
from loopwright.wire.credentials import (
    JobClaim,
    address_of,
    control_secret,
    gateway_token,
    is_service_token_of,
    is_worker,
    job_token,
    own_control_secret,
    read_gateway,
    read_job,
    worker_token,
)

ROOT = "lws_root"
HERE, THERE = "http://gw:8401", "http://eve:8401"
CLAIM = JobClaim("flights", "job_1", 2)


def test_each_part_is_known_by_its_own_credential_and_by_no_other() -> None:
    worker, gateway = worker_token(ROOT), gateway_token(ROOT, HERE)
    job, control = job_token(worker, CLAIM), control_secret(worker, HERE)
    known = {
        secret: (is_worker(secret, ROOT), read_gateway(secret, ROOT), read_job(secret, ROOT))
        for secret in (worker, gateway, job, control, ROOT)
    }
    assert known == {
        worker: (True, None, None),
        gateway: (False, HERE, None),
        job: (False, None, CLAIM),
        control: (False, None, None),
        ROOT: (False, None, None),
    }


def test_no_credential_holds_the_one_it_was_derived_from() -> None:
    worker, gateway = worker_token(ROOT), gateway_token(ROOT, HERE)
    for secret in (worker, gateway, job_token(worker, CLAIM), control_secret(worker, HERE)):
        assert ROOT not in secret
    assert worker not in gateway + job_token(worker, CLAIM)


def test_what_is_derived_already_stays_as_it_is() -> None:
    worker, gateway = worker_token(ROOT), gateway_token(ROOT, HERE)
    assert (worker_token(worker), gateway_token(gateway, HERE)) == (worker, gateway)
    with pytest.raises(InvalidInput, match="another gateway"):
        gateway_token(gateway, THERE)


def test_a_credential_of_another_platform_or_address_is_none() -> None:
    gateway = gateway_token(ROOT, HERE)
    _, _, signed = gateway.partition(".")
    forged = gateway_token("lws_other", THERE).partition(".")[0] + "." + signed
    assert address_of(forged) == THERE
    assert read_gateway(forged, ROOT) is None
    assert read_gateway(gateway, "lws_other") is None
    later = job_token(worker_token(ROOT), CLAIM).replace("lwj_", "lwj_A", 1)
    assert read_job(later, ROOT) is None
    assert own_control_secret(gateway) != own_control_secret(gateway_token(ROOT, THERE))


@pytest.mark.parametrize(
    "empty", ["lwg_", "lwg_..", "lwj_", "lwj_.", "lwj_bnVsbA.x", "lww_", "", "lwg_\xff.a", "lwj_%.%"]
)
def test_what_is_no_credential_is_none_and_without_a_service_token_nothing_is(empty: str) -> None:
    for root in (ROOT, ""):
        assert (is_worker(empty, root), read_gateway(empty, root), read_job(empty, root)) == (False, None, None)
    assert worker_token("") == gateway_token("", HERE) == own_control_secret("") == ""


def test_a_gateway_knows_the_service_token_without_having_it() -> None:
    gateway = gateway_token(ROOT, HERE)
    assert is_service_token_of(ROOT, gateway)
    for other in (gateway, worker_token(ROOT), gateway_token(ROOT, THERE), "", "lws_other"):
        assert not is_service_token_of(other, gateway)
    assert not is_service_token_of("", "")
