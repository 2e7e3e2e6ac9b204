"""A whole platform for each flow: server, worker and gateway as processes, on free ports and an empty folder."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loopwright.client.caller import HttpCaller
from loopwright.config import load_settings
from loopwright.server.supervisor import Supervisor, running
from tests.servers import free_port


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """A running platform that clients of this process find by its state folder."""
    state = tmp_path_factory.mktemp("state")
    settings = msgspec.structs.replace(load_settings(state), port=free_port(), gateway_port=free_port())
    folders = (tmp_path_factory.getbasetemp(),)
    settings = msgspec.structs.replace(settings, source_roots=(*folders, Path.cwd()), user_folders=folders)
    with pytest.MonkeyPatch.context() as patch, running(settings) as found:
        patch.setenv("LOOPWRIGHT_STATE", str(state))
        yield found


@pytest.fixture(scope="module")
def caller(platform: Supervisor) -> Iterator[HttpCaller]:
    """A client of it that knows the server's address alone."""
    made = HttpCaller(platform.server_url)
    yield made
    made.close()
