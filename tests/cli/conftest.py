"""A server that asks for tokens, and the command line called in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from loopwright.cli.main import cli
from tests.server.site import Site, serve


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that asks for tokens, and a user who has kept none."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for site in serve(tmp_path, is_open=False):
        monkeypatch.delenv("LOOPWRIGHT_TOKEN", raising=False)
        monkeypatch.setenv("LOOPWRIGHT_URL", site.url)
        yield site


def loopwright(*arguments: str, typed: str = "") -> str:
    answer = CliRunner().invoke(cli, arguments, input=typed, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout
