"""Tokens that are kept: one a server, for their owner's eyes."""

from pathlib import Path

import pytest

from loopwright.client.tokens import find_token, keep_token, tokens_file
from loopwright.kernel.errors import Unavailable


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "loopwright"


def test_a_token_is_kept_for_its_server_and_its_owner(config: Path) -> None:
    assert find_token("http://a:8400") == ""
    place = keep_token("http://a:8400/", "lwt_a")
    keep_token("http://b:8400", "lwt_b")
    assert place == tokens_file() == config / "tokens.json"
    assert place.stat().st_mode & 0o777 == 0o600
    assert (find_token("http://a:8400"), find_token("http://b:8400/"), find_token("http://a:8401")) == (
        "lwt_a",
        "lwt_b",
        "",
    )
    keep_token("http://a:8400", "")
    assert (find_token("http://a:8400"), find_token("http://b:8400")) == ("", "lwt_b")
    assert [path.name for path in config.iterdir()] == ["tokens.json"]


def test_a_broken_file_says_what_to_do(config: Path) -> None:
    config.mkdir(parents=True)
    tokens_file().write_text("[]")
    with pytest.raises(Unavailable, match="loopwright login"):
        find_token("http://a:8400")
