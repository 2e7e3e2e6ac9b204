"""Where backups are: objects by digest, and one named document a backup."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from loopwright.kernel.documents import from_json
from loopwright.kernel.errors import NotFound, Unavailable
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.blobs.local import sync_folder

T = TypeVar("T")


class BackupPlace:
    """A folder or a bucket prefix with backups.

    ``objects/`` holds pages, blobs and spool files by digest, shared by all backups there; ``backups/<id>.json`` names
    what belongs to one. The document is written last, so that a backup is there whole or not at all.

    Args:
        url: A folder, ``s3://bucket/prefix``, ``gs://…`` or ``az://…``.
        cache: Folder for local copies of remote objects.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url.rstrip("/")
        self.objects: BlobStore = open_blob_store(f"{self.url}/objects", cache)
        is_remote = "://" in url and not url.startswith("file://")
        folder = Path(self.url.removeprefix("file://")) / "backups"
        self._documents: _Bucket | _Folder = _Bucket(f"{self.url}/backups") if is_remote else _Folder(folder)

    def ids(self) -> list[str]:
        """Return the ids of the backups, oldest first."""
        return sorted(name.removesuffix(".json") for name in self._documents.names() if name.endswith(".json"))

    def read(self, backup_id: str, kind: type[T]) -> T:
        """Return the document of a backup.

        Raises:
            NotFound: There is none of that id.
        """
        if backup_id not in self.ids():
            raise NotFound("there is no such backup", field="backup", value=backup_id, rule=", ".join(self.ids()[-5:]))
        return from_json(self._documents.get(f"{backup_id}.json"), kind, backup_id)

    def write(self, backup_id: str, document: bytes) -> None:
        """Write the document of a backup, durably.

        Raises:
            Unavailable: The place cannot be written.
        """
        self._documents.put(f"{backup_id}.json", document)

    def forget(self, backup_id: str) -> None:
        """Remove the document of a backup; its objects stay for the others."""
        self._documents.delete(f"{backup_id}.json")


class _Folder:
    """Named documents in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        return [file.name for file in self._folder.glob("*.json")] if self._folder.exists() else []

    def get(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def put(self, name: str, body: bytes) -> None:
        draft = self._folder / f".{name}.tmp"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._folder / name)
            sync_folder(self._folder)
        except OSError as error:
            raise Unavailable(
                "this backup cannot be written", field="backup", value=f"{self._folder}: {error.strerror}"
            ) from None

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


class _Bucket:
    """Named documents under a prefix of an object store."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url

        self._url = url
        with self._answering():
            self._store: Any = from_url(url, client_options={"allow_http": True}) if url[:3] == "s3:" else from_url(url)

    def names(self) -> list[str]:
        with self._answering():
            return [str(item["path"]).rsplit("/", 1)[-1] for page in self._store.list() for item in page]

    def get(self, name: str) -> bytes:
        with self._answering():
            return bytes(self._store.get(name).bytes())

    def put(self, name: str, body: bytes) -> None:
        with self._answering():
            self._store.put(name, body)

    def delete(self, name: str) -> None:
        with self._answering():
            self._store.delete(name)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            raise Unavailable(
                "the place of the backups did not answer",
                field="backup",
                value=f"{self._url}: {str(error).strip().splitlines()[0]}",
                next_step="check the address and its credentials",
            ) from None
