"""Which server is meant, and whose token goes there."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loopwright.client import finding
from loopwright.client.finding import check_addressee, find_caller
from loopwright.client.tokens import keep_token
from loopwright.config import load_settings
from loopwright.kernel.errors import PermissionDenied, Unavailable


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("LOOPWRIGHT_TOKEN", "LOOPWRIGHT_URL", "LOOPWRIGHT_GATEWAY_URL", "LOOPWRIGHT_STATE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def door() -> Iterator[str]:
    """An address at which this user listens."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"


@pytest.fixture
def cloned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says where the server is, in a folder that came with somebody's files."""
    (tmp_path / "repository" / ".loopwright").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repository")
    return tmp_path / "repository" / ".loopwright" / "server.json"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}', "null"])
def test_a_broken_server_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delenv("LOOPWRIGHT_URL", raising=False)
    settings = load_settings(tmp_path)
    with pytest.raises(Unavailable, match="loopwright up"):
        find_caller(settings)
    (tmp_path / "server.json").write_text(text)
    with pytest.raises(Unavailable, match="loopwright up"):
        find_caller(settings)


def test_the_server_file_leads_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOPWRIGHT_URL", raising=False)
    (tmp_path / "server.json").write_text(json.dumps({"url": "http://a/", "gateway_url": "http://b"}))
    settings = load_settings(tmp_path)
    assert find_caller(settings).url == "http://a"
    assert find_caller(msgspec.structs.replace(settings, url="http://c")).url == "http://c"


def test_calls_show_the_token_of_the_server_that_they_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_token("http://a:8400", "lwt_kept")

    def shown(url: str) -> str:
        monkeypatch.setenv("LOOPWRIGHT_URL", url)
        return find_caller(load_settings()).token

    assert shown("http://a:8400") == "lwt_kept"
    assert shown("http://b:8400") == ""
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", "lwt_named")
    assert shown("http://a:8400") == "lwt_named"


def test_a_kept_token_goes_to_its_address_and_to_gateways_that_this_server_names(cloned: Path) -> None:
    keep_token("http://real:8400", "lwt_kept")
    cloned.write_text(json.dumps({"url": "http://real:8400", "gateway_url": "http://false:8401"}))
    caller = find_caller()
    assert (caller.token, caller.url, caller.gateway_url) == ("lwt_kept", "http://real:8400", "")
    cloned.write_text(json.dumps({"url": "http://false:8400", "gateway_url": "http://false:8401"}))
    assert find_caller().token == ""
    for url in ("http://false:8400,http://real:8400", "http://real:8400/,http://false:8400"):
        cloned.write_text(json.dumps({"url": url, "gateway_url": ""}))
        caller = find_caller()
        assert (caller.token, caller._servers.urls) == ("lwt_kept", ("http://real:8400",))


def test_a_gateway_that_somebody_named_is_shown_the_token(cloned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_token("http://real:8400", "lwt_kept")
    cloned.write_text(json.dumps({"url": "http://real:8400", "gateway_url": "http://false:8401"}))
    monkeypatch.setenv("LOOPWRIGHT_GATEWAY_URL", "http://named:8401")
    assert find_caller().gateway_url == "http://named:8401"


def test_without_a_token_the_file_says_where_both_are(cloned: Path, door: str) -> None:
    cloned.write_text(json.dumps({"url": door, "gateway_url": "http://127.0.0.1:8401"}))
    caller = find_caller()
    assert (caller.token, caller.url, caller.gateway_url) == ("", door, "http://127.0.0.1:8401")


@pytest.mark.parametrize("url", ["http://192.0.2.7:8400", "http://evil.example", "http://localhost.evil.example:8400"])
def test_a_token_of_the_environment_goes_to_no_machine_that_only_a_file_names(
    cloned: Path, door: str, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", "lwt_named")
    for urls in (url, f"{door},{url}"):
        cloned.write_text(json.dumps({"url": urls, "gateway_url": url}))
        with pytest.raises(PermissionDenied, match="only a file names it") as told:
            find_caller()
    assert "export LOOPWRIGHT_URL=" in str(told.value.next_step)
    with pytest.raises(PermissionDenied):
        check_addressee(load_settings(), url)
    monkeypatch.setenv("LOOPWRIGHT_URL", url)
    assert find_caller().token == "lwt_named"


def test_a_token_of_the_environment_goes_to_the_server_of_this_user_on_this_machine(
    cloned: Path, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", "lwt_named")
    for url in (door, door.replace("127.0.0.1", "localhost"), door.replace("127.0.0.1", "0.0.0.0")):
        cloned.write_text(json.dumps({"url": url, "gateway_url": "http://false:8401"}))
        caller = find_caller()
        assert (caller.token, caller.url, caller.gateway_url) == ("lwt_named", url, "")
    listeners = finding._listeners
    assert listeners(int(door.rpartition(":")[2])) == {cloned.stat().st_uid}
    monkeypatch.setattr(finding, "_listeners", lambda port: {64_001} | listeners(port))
    with pytest.raises(PermissionDenied, match="another user's"):
        find_caller()
    # Nor to the server of whoever wrote the file, who may have left the folder where this user looks.
    written = cloned.stat()
    monkeypatch.setattr(finding, "_listeners", lambda port: {64_001})
    monkeypatch.setattr(Path, "stat", lambda path, **how: os.stat_result((*written[:4], 64_001, *written[5:])))
    with pytest.raises(PermissionDenied, match="another user's"):
        find_caller()
