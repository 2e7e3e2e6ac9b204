"""A running platform for the pages whose examples need one."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loopwright.config import load_settings
from loopwright.server.supervisor import Supervisor, running
from tests.servers import free_port


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """Server, worker and gateway on free ports; SDK and CLI find them by the state folder."""
    state: Path = tmp_path_factory.mktemp("state")
    settings = msgspec.structs.replace(load_settings(state), port=free_port(), gateway_port=free_port())
    folders = (tmp_path_factory.getbasetemp(),)
    settings = msgspec.structs.replace(settings, source_roots=(*folders, Path.cwd()), user_folders=folders)
    with pytest.MonkeyPatch.context() as patch, running(settings) as found:
        patch.setenv("LOOPWRIGHT_STATE", str(state))
        yield found
