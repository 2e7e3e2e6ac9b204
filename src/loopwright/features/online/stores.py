"""The online stores of an installation: a file for each project in the state folder, or all of them in one server."""

from collections.abc import Collection
from pathlib import Path

import msgspec

from loopwright.features.online.base import LONG, SHORT, OnlineStore, Patience, StoreServer, open_online_store
from loopwright.features.online.parting import part_projects
from loopwright.features.online.places import online_folder, online_url, remove_stores, stored_projects
from loopwright.kernel.plugins import load_plugin

_PROBE = "-doctor"
"""Stands for a project where a server is tried out; none can be named so."""


class OnlineStores(msgspec.Struct, frozen=True):
    """Where the stores are, and what is done to all of them.

    Args:
        state_dir: The state folder of this machine.
        url: Address of the server that holds them (``LOOPWRIGHT_ONLINE``); empty for files in the state folder.
        is_walled: Code of users is kept from what is not its project's.
    """

    state_dir: Path
    url: str = ""
    is_walled: bool = True

    def open(self, project: str, patience: Patience = LONG) -> OnlineStore:
        """Open the store of a project.

        Raises:
            Unavailable: It does not answer.
        """
        if not self.url:
            part_projects(self.state_dir)
        return open_online_store(self.address(project), patience)

    def address(self, project: str) -> str:
        """Return by which address the platform's own processes open a project's store."""
        return f"{self.url}#{project}" if self.url else online_url(self.state_dir, project)

    def address_for_code(self, project: str) -> str:
        """Return by which address code of a project opens its store, and can open nothing else.

        Raises:
            InvalidInput: The server asks nobody for a password.
            Unavailable: It does not answer, or gives us no right to part projects.
        """
        if not self.url or not self.is_walled:
            return self.address(project)
        return self._server().restricted_url(self.url, project)  # one that was started anew has forgotten it

    def folders(self, project: str) -> list[Path]:
        """Return the folders that whoever opens a project's store has to write; missing ones are made."""
        return [] if self.url else [online_folder(self.state_dir, project)]

    def projects(self) -> set[str]:
        """Return the projects of which there are stores."""
        return self._server().projects(self.url) if self.url else stored_projects(self.state_dir)

    def try_out(self) -> None:
        """Do at the stores what gateways do there; each file is written to, of a server one project alone.

        Raises:
            InvalidInput: As ``address_for_code``.
            StorageFull: There is no room.
            Unavailable: As ``address_for_code``, or rows are not taken.
        """
        for address in [self.address_for_code(_PROBE)] if self.url else map(self.address, self.projects()):
            store = open_online_store(address, SHORT)
            try:
                store.try_out()
            finally:
                store.close()
        if self.url:
            self._server().remove(self.url, _PROBE)

    def caveat(self) -> str:
        """Return what of how the stores are set up loses rows that they took; empty for nothing.

        Raises:
            Unavailable: They do not answer.
        """
        return self._server().caveat(self.url) if self.url else ""

    def remove(self, gone: Collection[str]) -> None:
        """Remove the stores of projects. Whoever has a file open keeps it until then."""
        if not self.url:
            remove_stores(self.state_dir, gone)
            return
        for project in self.projects() & set(gone):
            self._server().remove(self.url, project)

    def _server(self) -> StoreServer:
        server: StoreServer = load_plugin("online_servers", self.url.partition("://")[0])
        return server
