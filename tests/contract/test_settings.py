"""Settings: each is read in one place, a value that means nothing is refused, a name that means nothing is told."""

import logging
from pathlib import Path

import pytest

from loopwright.config import load_settings, unknown_settings
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
    ],
)
def test_so_is_every_other_value(name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as told:
        load_settings(tmp_path)
    assert told.value.field == name


def test_what_nothing_reads_is_told_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_AUHT", "on")
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path))
    assert unknown_settings() == {"LOOPWRIGHT_AUHT": "LOOPWRIGHT_AUTH"}
    with caplog.at_level(logging.WARNING):
        process.tell_unknown_settings()
    assert "nothing reads LOOPWRIGHT_AUHT; did you mean LOOPWRIGHT_AUTH?" in caplog.text
