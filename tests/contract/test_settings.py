"""Settings: each is read in one place, a value that means nothing is refused, a name that means nothing is told."""

import logging
import os
import pwd
from pathlib import Path

import msgspec
import pytest

from loopwright.config import (
    Settings,
    closed_places,
    config_folder,
    home_secrets,
    load_settings,
    unknown_settings,
    variables_of,
)
from loopwright.kernel.errors import InvalidInput
from loopwright.wire import process


@pytest.mark.parametrize("value", ["true", "1", "yes", "ON", "off "])
def test_a_misspelt_auth_opens_nothing(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOPWRIGHT_AUTH", value)
    with pytest.raises(InvalidInput) as told:
        load_settings(tmp_path)
    assert (told.value.field, told.value.rule) == ("LOOPWRIGHT_AUTH", "one of on, off")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOOPWRIGHT_DURABILITY", "powr"),
        ("LOOPWRIGHT_WALLS", "srict"),
        ("LOOPWRIGHT_RATE", "-1"),
        ("LOOPWRIGHT_PORT", "x"),
        ("LOOPWRIGHT_PORT", "0"),
        ("LOOPWRIGHT_GATEWAY_PORT", "65536"),
        ("LOOPWRIGHT_URL", "nonsense"),
        ("LOOPWRIGHT_URL", "server:8400"),
        ("LOOPWRIGHT_URL", "http://s1:8400,"),
        ("LOOPWRIGHT_URL", "http://"),
        ("LOOPWRIGHT_GATEWAY_URL", "ftp://gateway"),
        ("LOOPWRIGHT_SLOTS", "training"),
        ("LOOPWRIGHT_SLOTS", "trainning=1"),
        ("LOOPWRIGHT_GATEWAY_NAME", "../x"),
        ("LOOPWRIGHT_ONLINE", "http://features:6379"),
        ("LOOPWRIGHT_SOURCES", "events=redis://host"),
        ("LOOPWRIGHT_SOURCES", "flights/a/b=redis://host"),
        ("LOOPWRIGHT_SOURCES", "flights/events=host:6379"),
        ("LOOPWRIGHT_SOURCES", "flights/=redis://host"),
        ("LOOPWRIGHT_SOURCES", "../x/events=redis://host"),
        ("LOOPWRIGHT_ONLINE", "redis://features:6379/0#flights"),
        ("LOOPWRIGHT_ONLINE", "redis://features:6379/1"),
        ("LOOPWRIGHT_ONLINE", "redis://features:6379?db=1"),
        ("LOOPWRIGHT_ONLINE", "redis://features:6379/0?timeout=1&db=1"),
    ],
)
def test_so_is_every_other_value(name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as told:
        load_settings(tmp_path)
    assert told.value.field == name
    assert told.value.rule


def test_behind_strict_walls_features_are_in_no_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for url in (
        "redis://features:6379",
        "rediss://a:b@features/?ssl_cert_reqs=none",
        "redis://:sesame@features:6379/0",
    ):
        monkeypatch.setenv("LOOPWRIGHT_ONLINE", url)
        assert load_settings(tmp_path).online_url == url
    monkeypatch.setenv("LOOPWRIGHT_WALLS", "strict")
    with pytest.raises(InvalidInput, match="behind strict walls"):
        load_settings(tmp_path)


def test_a_process_that_is_started_reads_the_settings_of_who_started_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("LOOPWRIGHT_")]:
        monkeypatch.delenv(name)
    secrets = {"database_url": "sqlite:///elsewhere.db", "token": "mine", "service_token": "ours"}
    secrets["sources"] = "flights/shop=postgresql://me:sesame@shop/orders */events=redis://broker:6379"
    secrets["online_url"] = "redis://:sesame@features:6379/0"
    given = Settings(
        state_dir=tmp_path / "state",
        blobs_url="s3://blobs",
        host="127.0.0.2",
        port=1,
        gateway_port=2,
        url="http://s1:8400,http://s2:8400",
        gateway_url="http://g1:8401",
        project="flights",
        auth="on",
        durability="power",
        source_roots=(tmp_path / "a", tmp_path / "b"),
        slots={"looks": 3, "training": 0},
        walls="strict",
        user_folders=(tmp_path / "c",),
        hidden=(tmp_path / "d", tmp_path / "e"),
        gateway_name="second",
        rate=7,
        checkpoints_url="s3://audit",
        checkpoint_key=tmp_path / "keys",
        is_supervised=True,
        **secrets,
    )
    unset = load_settings(tmp_path)
    same = [name for name in given.__struct_fields__ if getattr(given, name) == getattr(unset, name)]
    assert same == []  # else it would come out alike without being handed on
    for name, value in variables_of(given).items():
        monkeypatch.setenv(name, value)
    read = load_settings()
    assert msgspec.structs.replace(read, **secrets) == given
    assert not set(secrets.values()) & set(variables_of(given).values())


def test_a_misspelt_lane_is_told_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOPWRIGHT_SLOTS", "looks=1,trainning=1")
    with pytest.raises(InvalidInput, match="did you mean training"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    "value", ["http://s1:8400", "http://s1:8400, https://s2", "https://lw.example/predict", "http://[::1]:8400"]
)
def test_addresses_are_taken_as_they_are(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOPWRIGHT_URL", value)
    assert load_settings(tmp_path).url == value


def test_a_user_may_have_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As users that run services, and containers with a number for a user."""
    (tmp_path / ".netrc").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert list(home_secrets()) == [tmp_path / ".netrc"]
    for home in ("missing", ".netrc"):
        monkeypatch.setenv("HOME", str(tmp_path / home))
        assert list(home_secrets()) == []

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert config_folder().name == "loopwright"
    assert all(path.parent == Path("/") for path in home_secrets())
    assert closed_places(load_settings(tmp_path))


def test_what_nothing_reads_is_told_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_AUHT", "on")
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path))
    assert unknown_settings() == {"LOOPWRIGHT_AUHT": "LOOPWRIGHT_AUTH"}
    with caplog.at_level(logging.WARNING):
        process.tell_unknown_settings()
    assert "nothing reads LOOPWRIGHT_AUHT; did you mean LOOPWRIGHT_AUTH?" in caplog.text
