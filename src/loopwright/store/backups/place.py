"""Where backups are: objects by digest, and one named document a backup."""

import re
from pathlib import Path
from typing import Any, TypeVar

from loopwright.kernel.documents import digest_bytes, from_json, to_json
from loopwright.kernel.errors import Conflict, Corrupt, NotFound
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.shelves import is_remote, open_shelf

T = TypeVar("T")
_SPARE = "spare.json"
_DIGEST = re.compile(rb',"digest":"[0-9a-f]{64}"}\Z')


class BackupPlace:
    """A folder or a bucket prefix with backups.

    ``objects/`` holds pages, blobs and spool files by digest, shared by all backups there; ``backups/<id>.json`` names
    what belongs to one. The document is written last, so that a backup is there whole or not at all. ``spare/`` tells
    which objects no backup named when old ones were let go of, and since when.

    Args:
        url: A folder, ``s3://bucket/prefix``, ``gs://…`` or ``az://…``.
        cache: Folder for local copies of remote objects.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url.rstrip("/")
        self.root = None if is_remote(url) else Path(self.url.removeprefix("file://"))
        self.objects: BlobStore = open_blob_store(f"{self.url}/objects", cache)
        self._documents = open_shelf(f"{self.url}/backups", "backup")
        self._spare = open_shelf(f"{self.url}/spare", "backup")

    def ids(self) -> list[str]:
        """Return the ids of the backups, oldest first."""
        return sorted(name.removesuffix(".json") for name in self._documents.names() if name.endswith(".json"))

    def read(self, backup_id: str, kind: type[T]) -> T:
        """Return the document of a backup.

        Raises:
            NotFound: There is none of that id.
            Corrupt: It is not what was written, or is the document of another one.
        """
        if backup_id not in self.ids():
            raise NotFound("there is no such backup", field="backup", value=backup_id, rule=", ".join(self.ids()[-5:]))
        body = self._documents.get(f"{backup_id}.json")
        _check(body, backup_id)
        return from_json(body, kind, backup_id)

    def write(self, backup_id: str, document: bytes) -> None:
        """Write the document of a backup, a JSON object, durably; a digest of it becomes its last field.

        Raises:
            Unavailable: The place cannot be written.
        """
        self._documents.put(f"{backup_id}.json", document[:-1] + _end_of(document))

    def forget(self, backup_id: str) -> None:
        """Remove the document of a backup; its objects stay for the others."""
        self._documents.delete(f"{backup_id}.json")

    def refuse_links(self) -> None:
        """Refuse to remove anything where a folder of this place is a link: what it leads to is another's.

        Raises:
            Conflict: One is.
        """
        for folder in [self.root / name for name in ("objects", "backups", "spare")] if self.root else []:
            if folder.is_symlink():
                raise Conflict(
                    "a folder of this backup place is a link: nothing is removed",
                    field="place",
                    value=str(folder),
                    rule="folders of its own; the place itself may be a link",
                )

    def read_spare(self) -> dict[str, int]:
        """Return since when (wall time, microseconds UTC) objects are named by no backup, by digest."""
        if _SPARE not in self._spare.names():
            return {}
        return from_json(self._spare.get(_SPARE), dict[str, int], _SPARE)

    def write_spare(self, since: dict[str, int]) -> None:
        """Write since when objects are named by no backup."""
        self._spare.put(_SPARE, to_json(since))


def _end_of(document: bytes) -> bytes:
    """Return how a document ends that holds its own digest, which is that of all of it without this field."""
    return b',"digest":"%s"}' % digest_bytes(document).encode()


def _check(body: bytes, backup_id: str) -> None:
    """Refuse a document that was changed, or put under the name of another; those of older versions hold no digest."""
    document = from_json(body, dict[str, Any], backup_id)
    found = _DIGEST.search(body)
    if "digest" in document and (found is None or _end_of(body[: found.start()] + b"}") != found[0]):
        raise _changed("the document of this backup was changed", backup_id)
    if document.get("backup_id") != backup_id:
        raise _changed("the document of this backup is that of another", backup_id)


def _changed(message: str, backup_id: str) -> Corrupt:
    next_step = "use another backup: --backup ID; nothing is let go of as long as this document is there"
    return Corrupt(message, field="backup", value=backup_id, next_step=next_step)
