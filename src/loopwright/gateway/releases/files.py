"""A release's files on the gateway's own disk: models and code, fetched once, checked in each life of the gateway."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from loopwright.kernel.documents import digest_bytes, digest_of
from loopwright.kernel.errors import Corrupt
from loopwright.pipelines import packing
from loopwright.serving import Release, Variant
from loopwright.store.blobs import BlobStore
from loopwright.store.blobs.base import check_digest


class ReleaseFiles:
    """Keeps what releases need below one folder: ``models/<key>/…`` and ``code/<project>/<digest>/…``.

    A changed byte is a changed model, so whatever is on the disk already is compared with its digest once in each life
    of the gateway, and fetched again where it differs.

    Args:
        root: The gateway's folder.
        blobs: Where files come from; not asked for what is on the disk.
    """

    def __init__(self, root: Path, blobs: BlobStore) -> None:
        self._root, self._blobs = root, blobs
        self._checked: set[Path] = set()

    def fetch(self, release: Release) -> None:
        """Put everything that a release needs on the disk.

        Raises:
            NotFound: A file is not stored.
            Corrupt: A file is not what its digest says, or lies outside of its model.
            InvalidInput: A digest is none; nothing on the disk was touched.
            Unavailable: The blob store does not answer, or the disk takes nothing.
        """
        for variant in release.variants:
            self._fetch_model(variant)
        for project, digest in code_digests([release]):
            self.fetch_code(project, digest)

    def fetch_code(self, project: str, digest: str) -> None:
        """Put a packed project on the disk, unpacked anew in each life of the gateway: what ran there may have written.

        Raises:
            NotFound, Corrupt, InvalidInput, Unavailable: As ``fetch``.
        """
        folder = code_folder(self._root, project) / check_digest(digest)
        if folder in self._checked:
            return
        packed = folder.with_suffix(".zip")
        body = packed.read_bytes() if packed.exists() else b""
        if digest_bytes(body) != digest:
            body = self._blobs.get(digest)
            packed.parent.mkdir(parents=True, exist_ok=True)
            draft = packed.with_suffix(".tmp")
            draft.write_bytes(body)
            draft.replace(packed)
        shutil.rmtree(folder, ignore_errors=True)
        packing.unpack(body, folder)
        self._checked.add(folder)

    def keep_only(self, releases: Iterable[Release]) -> None:
        """Delete the models and code that none of these releases uses."""
        releases = list(releases)
        models = {model_key(variant) for release in releases for variant in release.variants}
        self._delete(self._root / "models", models)
        used = code_digests(releases)
        # A project's own folder stays, also where it is empty: the walls of a child that runs open this very folder,
        # not another of its name. Older versions kept the code of every project side by side.
        self._delete(self._root / "code", {path.name for path in _entries(self._root / "code") if not _is_older(path)})
        for folder in _entries(self._root / "code"):
            digests = {digest for project, digest in used if project == folder.name}
            self._delete(folder, digests | {f"{digest}.zip" for digest in digests})

    def _fetch_model(self, variant: Variant) -> None:
        folder = self._root / "models" / model_key(variant)
        if folder in self._checked:
            return
        if not (folder.is_dir() and _is_whole(folder, variant)):
            draft = folder.with_name(f".{folder.name}")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            draft.mkdir(parents=True)
            for file in variant.files:
                target = _inside(draft, file.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self._blobs.get(file.digest))
            draft.rename(folder)
        self._checked.add(folder)

    def _delete(self, folder: Path, kept: set[str]) -> None:
        for path in _entries(folder):
            if path.name not in kept:
                self._checked -= {path, *(kept for kept in self._checked if path in kept.parents)}
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def model_key(variant: Variant) -> str:
    """Return the name of a variant's model: its flavour, files and signature, whatever versions it goes by."""
    return digest_of([variant.flavour, variant.files, variant.signature])


def code_folder(root: Path, project: str) -> Path:
    """Return where a project's code is: its children may read this folder and no other project's."""
    return root / "code" / project


def code_digests(releases: Iterable[Release]) -> set[tuple[str, str]]:
    """Return project and digest of the packed code whose functions releases name."""
    plans = [(release.project, plan) for release in releases for plan in release.plans.values()]
    functions = [(project, request.function.digest) for project, plan in plans for request in plan.requests]
    transforms = [
        (project, dataset.transform.digest)
        for project, plan in plans
        for dataset in plan.datasets
        if dataset.transform is not None
    ]
    return {*functions, *transforms}


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_older(path: Path) -> bool:
    """Say whether this is code as older versions kept it, under its digest alone."""
    return path.suffix == ".zip" or re.fullmatch("[0-9a-f]{64}", path.name) is not None


def _is_whole(folder: Path, variant: Variant) -> bool:
    """Say whether a model's files are there and have their digests."""
    try:
        return all(digest_bytes(_inside(folder, file.path).read_bytes()) == file.digest for file in variant.files)
    except OSError:
        return False


def _inside(folder: Path, name: str) -> Path:
    path = Path(name)
    if ".." in path.parts or path.is_absolute():
        raise Corrupt("a model file lies outside of its model", field="path", value=name)
    return folder / path
