"""Packing a project's code: a deterministic zip, named by its digest, and its safe unpacking.

Python files travel, and what the project declares beside them; never data, notes or anything else that happens to lie
in the folder, where rows with personal columns would end in a code archive that every worker may read. Left out too:
what ``.gitignore`` names, hidden files (they hold secrets), environments, links. Functions of notebook cells travel as
generated modules.
"""

import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from pathspec import GitIgnoreSpec

from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes, digest_of
from loopwright.kernel.errors import Corrupt, InvalidInput, TooLarge
from loopwright.pipelines.functions import capture_module, function_digest, locate

MOST_BYTES = 20 * 1024 * 1024
MOST_FILES = 5_000
MOST_DEPTH = 100
MOST_NAME_BYTES = 255
_LEFT_OUT = {"__pycache__", "node_modules", "venv", "site-packages", "*.egg-info", "*.pyc"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_project(folder: Path, functions: Sequence[Callable[..., Any]] = (), declared: Sequence[str] = ()) -> bytes:
    """Return the zip of a project's code; the same files give the same bytes.

    Args:
        folder: The project's folder.
        functions: What the project names; those of notebook cells are captured as modules.
        declared: Further files that the code reads, by patterns as in ``.gitignore``, such as ``sql/*.sql``.

    Raises:
        TooLarge: The code exceeds 20 MB; names the largest files.
        InvalidInput: A function cannot be found again by its name.
    """
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder, declared)}
    for function in functions:
        place = locate(function, folder)
        if place.is_captured:
            files[f"{place.module}.py"] = capture_module(function)[1].encode()
    total = sum(map(len, files.values()))
    if total > MOST_BYTES:
        largest = sorted(files, key=lambda name: -len(files[name]))[:5]
        raise TooLarge(
            f"the project's code takes {total / 1e6:.0f} MB",
            field="folder",
            value=str(folder),
            rule=f"at most {MOST_BYTES // 1024**2} MB",
            next_step="name these in .gitignore, or not in files=: "
            + ", ".join(f"{name} ({len(files[name]) / 1e6:.1f} MB)" for name in largest),
        )
    packed = io.BytesIO()
    # Stored, not deflated: compressors differ between machines, and the digest must not.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[name])
    return packed.getvalue()


def code_ref(
    function: Callable[..., Any], folder: Path, code_digest: str, files: Mapping[str, str] | None = None
) -> CodeRef:
    """Return the name of a function in packed code.

    Args:
        function: Which.
        folder: The project's folder.
        code_digest: Of the packed code.
        files: Digests of the declared files. Which of them a function reads cannot be told, so each counts for all.

    Raises:
        InvalidInput: It is a lambda, defined inside another function, or outside the project; says what to do.
    """
    place = locate(function, folder)
    digest = function_digest(function, folder)
    digest = digest_of([digest, files]) if files else digest
    return CodeRef(code_digest, place.module, place.qualname, digest)


def unpack(body: bytes, target: Path) -> Path:
    """Unpack code into a folder that appears whole or not at all; returns it. An existing one is left as it is.

    Raises:
        Corrupt: The archive holds a link, a path that leads out of the folder, or more than it may.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".code-", dir=target.parent))
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for entry in _checked(archive):
                _write(archive, entry, draft / entry.filename)
        draft.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Corrupt("this is not a code archive", value=str(error)) from None
    except OSError:
        # Another process was faster; its folder has the same content.
        if not target.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source:
        # The size that an entry states may be a lie.
        content = source.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise Corrupt("this code archive states wrong sizes", value=entry.filename)
    place.write_bytes(content)


def _checked(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > 2 * MOST_FILES or sum(entry.file_size for entry in entries) > 2 * MOST_BYTES:
        raise Corrupt("this code archive is too large", rule=f"at most {MOST_BYTES // 1024**2} MB")
    names = {PurePosixPath(entry.filename) for entry in entries}
    for entry in entries:
        path = PurePosixPath(entry.filename)
        is_too_long = len(path.parts) > MOST_DEPTH or any(len(part.encode()) > MOST_NAME_BYTES for part in path.parts)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        is_out = path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename
        is_in_a_file = not is_too_long and not names.isdisjoint(path.parents)
        if is_out or is_too_long or is_in_a_file or not path.parts or kind not in (0, stat.S_IFREG):
            raise Corrupt(
                "this code archive holds what it must not",
                field="entry",
                value=entry.filename,
                rule=f"regular files inside the folder only, in at most {MOST_DEPTH} folders",
            )
    return entries


def declared_files(folder: Path, declared: Sequence[str]) -> dict[str, str]:
    """Return the digests of the files that patterns name, by their place in the folder.

    Raises:
        InvalidInput: A pattern names no file.
    """
    digests: dict[str, str] = {}
    for pattern in declared:
        is_named = GitIgnoreSpec.from_lines([pattern]).match_file
        named = [path for path in _files(folder, declared) if is_named(path.relative_to(folder).as_posix())]
        if not named:
            raise InvalidInput(
                "no file of the project has this name",
                field="files",
                value=pattern,
                rule=f"files below {folder}, not hidden, not in .gitignore",
            )
        digests |= {path.relative_to(folder).as_posix(): digest_bytes(path.read_bytes()) for path in named}
    return digests


def _files(folder: Path, declared: Sequence[str]) -> Iterator[Path]:
    """Yield the Python files of the project and those that are declared."""
    is_ignored, is_declared = _gitignore(folder), GitIgnoreSpec.from_lines(declared).match_file
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_left_out(Path(root, name), folder, is_ignored))
        for name in sorted(names):
            path = Path(root, name)
            if _is_left_out(path, folder, is_ignored) or not path.is_file():
                continue
            if path.suffix != ".py" and not is_declared(path.relative_to(folder).as_posix()):
                continue
            count += 1
            if count > MOST_FILES:
                raise TooLarge(
                    f"this folder holds more than {MOST_FILES} files",
                    field="folder",
                    value=str(folder),
                    next_step="put the project file into a folder of its own, or name the others in .gitignore",
                )
            yield path


def _is_left_out(path: Path, folder: Path, is_ignored: Callable[[str, bool], bool]) -> bool:
    if path.name.startswith(".") or path.is_symlink() or any(fnmatch(path.name, one) for one in _LEFT_OUT):
        return True
    if path.is_dir() and (path / "pyvenv.cfg").exists():
        return True
    return is_ignored(path.relative_to(folder).as_posix(), path.is_dir())


def _gitignore(folder: Path) -> Callable[[str, bool], bool]:
    """Return the test of the folder's ``.gitignore``."""
    file = folder / ".gitignore"
    rules = GitIgnoreSpec.from_lines(file.read_text("utf-8", "replace").splitlines() if file.is_file() else [])
    return lambda path, is_folder: rules.match_file(f"{path}/" if is_folder else path)
