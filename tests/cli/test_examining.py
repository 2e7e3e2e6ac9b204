"""``doctor`` names what is missing and what to do."""

import json
import os
import socket
from pathlib import Path

import msgspec
import pytest

from loopwright.cli import examining
from loopwright.cli.examining import Finding, examine
from loopwright.config import Settings, Walls, load_settings
from tests.redis_server import running_redis
from tests.servers import free_port, s3_server


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("LOOPWRIGHT_DATABASE", "LOOPWRIGHT_BLOBS"):
        monkeypatch.delenv(name, raising=False)
    return msgspec.structs.replace(load_settings(tmp_path / "state"), port=free_port(), gateway_port=free_port())


def test_a_sound_machine(settings: Settings) -> None:
    wrong = [finding for finding in examine(settings) if not finding.is_fine]
    assert wrong == []


def test_a_process_that_keeps_dying_is_named_with_how_it_died(settings: Settings) -> None:
    settings.state_dir.mkdir()
    how = "3 times in a row it ended with status 2; its last words: no lane is named so"
    told = {"url": "http://h", "gateway_url": "http://h", "pids": {}, "pid": os.getpid(), "dying": {"worker": how}}
    settings.server_file.write_text(json.dumps(told))
    [wrong] = [finding for finding in examine(settings) if not finding.is_fine]
    assert wrong == Finding("worker process", False, how, "loopwright logs worker")
    settings.server_file.write_text(json.dumps({**told, "dying": {}}))
    assert all(finding.is_fine for finding in examine(settings))


def ports_at(settings: Settings, host: str) -> list[Finding]:
    return [one for one in examine(msgspec.structs.replace(settings, host=host)) if one.what.endswith(" port")]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1"])
def test_a_host_that_is_not_this_machine_is_named_by_its_setting(settings: Settings, host: str) -> None:
    found = ports_at(settings, host)
    assert [one.is_fine for one in found] == [False, False]
    assert all(one.found.startswith(host) and "LOOPWRIGHT_HOST" in one.next_step for one in found)


def test_ports_are_looked_at_of_ipv6_too(settings: Settings) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert [one.is_fine for one in ports_at(settings, "::1")] == [True, True]


@pytest.mark.slow
def test_what_is_wrong_is_named_with_what_to_do(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = msgspec.structs.replace(
        settings, blobs_url=str(tmp_path / "file" / "blobs"), database_url="mysql://ana:hunter2@h/d"
    )
    with socket.socket() as taken, socket.socket() as also_taken:
        for one, port in ((taken, settings.port), (also_taken, settings.gateway_port)):
            one.bind(("127.0.0.1", port))
            one.listen()
        found = {finding.what: finding for finding in examine(broken)}
    for what in ("server port", "database", "blob store"):
        assert not found[what].is_fine
        assert found[what].next_step
    assert found["server port"].found == f"{settings.port}: Address already in use"
    assert "set LOOPWRIGHT_PORT" in found["server port"].next_step
    assert "set LOOPWRIGHT_GATEWAY_PORT" in found["gateway port"].next_step
    assert "hunter2" not in str(found)


def test_a_database_that_is_down_is_named_with_its_reason_and_not_with_this_command(settings: Settings) -> None:
    broken = msgspec.structs.replace(settings, database_url=f"postgresql://ana:hunter2@127.0.0.1:{free_port()}/d")
    [found] = [one for one in examine(broken) if one.what == "database"]
    assert "Connection refused" in found.found
    assert "doctor" not in found.next_step
    assert "LOOPWRIGHT_DATABASE" in found.next_step
    assert "hunter2" not in str(found)


@pytest.mark.slow
def test_a_bucket_that_is_missing_or_silent_is_named_with_the_setting_and_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blobs_at(url: str) -> tuple[str, str]:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        [one] = [one for one in examine(elsewhere) if one.what == "blob store"]
        assert not one.is_fine
        return one.found, one.next_step

    elsewhere = msgspec.structs.replace(settings, blobs_url="s3://models/blobs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "testing")
    with s3_server() as url:
        missing = blobs_at(url)
    assert missing == (
        "s3://models/blobs: there is no bucket models",
        "make it, or name another in LOOPWRIGHT_BLOBS",
    )
    silent = f"http://127.0.0.1:{free_port()}"
    assert blobs_at(silent) == (
        f"s3://models/blobs: bucket models does not answer at {silent}",
        "check LOOPWRIGHT_BLOBS, and AWS_ENDPOINT_URL where it is a store other than Amazon's",
    )


@pytest.mark.parametrize(
    ("version", "can_filter", "mode", "is_fine", "told"),
    [
        (6, True, "on", True, "files, processes and signals"),
        (5, True, "on", True, "but for signals"),
        (5, True, "strict", True, "signals to its own"),
        (6, False, "on", True, "no system calls are filtered"),
        (6, False, "strict", False, "no system calls are filtered"),
        (0, True, "strict", False, "no Landlock"),
    ],
)
def test_what_walls_keep_is_said(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    version: int,
    can_filter: bool,
    mode: Walls,
    is_fine: bool,
    told: str,
) -> None:
    monkeypatch.setattr(examining, "landlock_version", lambda: version)
    monkeypatch.setattr(examining, "can_filter", lambda: can_filter)
    [found] = [one for one in examine(msgspec.structs.replace(settings, walls=mode)) if one.what == "user code"]
    assert found.is_fine == is_fine
    assert told in found.found


def test_a_redis_that_keeps_no_log_of_writes_is_asked_to(settings: Settings, tmp_path: Path) -> None:
    for options, is_asked in (([], True), (["--appendonly", "yes"], False)):
        with running_redis(tmp_path, *options) as url:
            there = msgspec.structs.replace(settings, online_url=url)
            [found] = [one for one in examine(there) if one.what == "online store"]
        assert (found.is_fine, "set appendonly yes" in found.found) == (True, is_asked)
        assert "sesame" not in found.found
