"""Servers with and without auth."""

from collections.abc import Iterator

import pytest

from tests.server.site import Site, serve


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with auth."""
    yield from serve(tmp_path_factory.mktemp("guarded"), is_open=False)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that runs open on the loopback address."""
    yield from serve(tmp_path_factory.mktemp("open"), is_open=True)
