"""Shelves: small named documents in a folder or under a prefix of an object store, each written whole or not at all."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from loopwright.kernel.errors import Corrupt, NotFound, Unavailable
from loopwright.store.blobs.local import sync_folder

_NAME = re.compile(r"[^./\\\0][^/\\\0]*")


class Shelf(Protocol):
    """Documents by name. Every method raises ``Unavailable`` where what holds them does not answer."""

    def names(self) -> list[str]:
        """Return the names of the documents, in no order."""
        ...

    def get(self, name: str) -> bytes:
        """Return a document.

        Raises:
            NotFound: There is none of that name.
        """
        ...

    def put(self, name: str, body: bytes) -> None:
        """Write a document, durably."""
        ...

    def delete(self, name: str) -> None:
        """Remove a document; one that is gone already stays so."""
        ...


def open_shelf(url: str, what: str) -> Shelf:
    """Return the shelf at an address; nothing is made there before something is written.

    Args:
        url: A folder, ``s3://bucket/prefix``, ``gs://…`` or ``az://…``.
        what: Names the documents in errors: the field, such as ``backup``.

    Raises:
        Unavailable: The address is none of an object store that can be reached.
    """
    return _Bucket(url.rstrip("/"), what) if is_remote(url) else _Folder(Path(url.removeprefix("file://")), what)


def is_remote(url: str) -> bool:
    """Say whether an address is one of an object store and not of a folder."""
    return "://" in url and not url.startswith("file://")


class _Folder:
    """Named documents in a folder, each a plain file: others may write there too, links and pipes for instance."""

    def __init__(self, folder: Path, what: str) -> None:
        self._folder, self._what = folder, what

    def names(self) -> list[str]:
        with self._answering("read"), suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            return [one.name for one in entries if one.name.endswith(".json") and one.is_file(follow_symlinks=False)]
        return []

    def get(self, name: str) -> bytes:
        with self._answering("read"):
            try:
                with _open_plain(self._folder / _plain(name, self._what)) as file:
                    return file.read()
            except FileNotFoundError:
                raise _missing(self._what, name) from None

    def put(self, name: str, body: bytes) -> None:
        # Two processes may write the same name at once: each its own draft, and the last one stays, whole. Nobody knows
        # beforehand what a draft is called, and one that is there already, maybe a link, is not written to.
        draft = self._folder / f".{_plain(name, self._what)}.{secrets.token_hex(8)}.tmp"
        with self._answering("written"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with draft.open("xb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self._folder / name)
            except OSError:
                draft.unlink(missing_ok=True)
                raise
            sync_folder(self._folder)

    def delete(self, name: str) -> None:
        with self._answering("written"):
            (self._folder / _plain(name, self._what)).unlink(missing_ok=True)

    @contextmanager
    def _answering(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            value = f"{self._folder}: {error.strerror}"
            next_step = "check its owner, its permissions and the room on its disk"
            message = f"this {self._what} cannot be {done}"
            raise Unavailable(message, field=self._what, value=value, next_step=next_step) from None


class _Bucket:
    """Named documents under a prefix of an object store."""

    def __init__(self, url: str, what: str) -> None:
        from obstore.store import from_url

        self._url, self._what = url, what
        with self._answering():
            self._store: Any = from_url(url, client_options={"allow_http": True}) if url[:3] == "s3:" else from_url(url)

    def names(self) -> list[str]:
        with self._answering():
            return [str(item["path"]).rsplit("/", 1)[-1] for page in self._store.list() for item in page]

    def get(self, name: str) -> bytes:
        with self._answering():
            try:
                return bytes(self._store.get(_plain(name, self._what)).bytes())
            except FileNotFoundError:
                raise _missing(self._what, name) from None

    def put(self, name: str, body: bytes) -> None:
        with self._answering():
            self._store.put(_plain(name, self._what), body)

    def delete(self, name: str) -> None:
        with self._answering():
            self._store.delete(_plain(name, self._what))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            raise Unavailable(
                f"the place of the {self._what}s did not answer",
                field=self._what,
                value=f"{self._url}: {str(error).strip().splitlines()[0]}",
                next_step="check the address and its credentials",
            ) from None


def _plain(name: str, what: str) -> str:
    """Return a name that leads to no other place: some are read in documents that anybody may have written.

    Raises:
        Corrupt: It does.
    """
    if not _NAME.fullmatch(name):
        raise Corrupt(f"no {what} is called so", field=what, value=name[:200], rule="a name without slashes")
    return name


def _missing(what: str, name: str) -> NotFound:
    return NotFound(f"there is no such {what}", field=what, value=name)


def _open_plain(path: Path) -> BinaryIO:
    """Open a file of a folder in which others write; a pipe that nobody writes to would keep a reader for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"{path.name} is no plain file")
    return os.fdopen(handle, "rb")
