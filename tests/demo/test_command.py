"""A demo leaves the state folder of a running platform alone."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from loopwright.cli.main import cli
from loopwright.config import load_settings
from loopwright.kernel.errors import Unavailable
from loopwright.server.ownership import sole_owner


@pytest.mark.parametrize("reset", [[], ["--reset"]])
def test_a_folder_that_another_demo_uses_is_refused_and_kept(tmp_path: Path, reset: list[str]) -> None:
    settings = load_settings(tmp_path / "demo")
    with sole_owner(settings), pytest.raises(Unavailable, match="another server works on this state folder"):
        CliRunner().invoke(cli, ["demo", "--state", str(settings.state_dir), *reset], catch_exceptions=False)
    assert settings.state_dir.exists()
