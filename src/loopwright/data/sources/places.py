"""Where sources may lie: files below the folders that an operator listed.

Whoever declares a dataset names the path, and the worker that opens it can read more than they may. So a path counts
only where it leads in the end, links resolved, and no error repeats what stands in a file.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from loopwright.data.sources.base import kind_of, place_of
from loopwright.data.types import SourceSpec
from loopwright.kernel.errors import InvalidInput

_OF_THE_SYSTEM = (Path("/proc"), Path("/sys"))


class SourceRoots(msgspec.Struct, frozen=True):
    """Where sources may lie.

    Args:
        allowed: Folders whose files may be read, as the operator lists them.
        closed: Files and folders inside them that never are, as ``config.closed_places`` names them.
    """

    allowed: Sequence[Path]
    closed: Sequence[Path] = ()

    def hold(self, path: Path) -> bool:
        """Say whether a path leads to where it may, links resolved."""
        return not self.strayed([path])

    def strayed(self, paths: Sequence[Path]) -> list[Path]:
        """Return those of the paths that lead to where they may not; hidden names below a root never count."""
        marks = _Marks()
        roots = [root.resolve() for root in self.allowed]
        closed = [place.resolve() for place in (*self.closed, *_OF_THE_SYSTEM)]
        # A root inside a closed folder was listed on purpose, as the demo lists its project.
        barred = {
            root: [one for one in closed if marks.lie_in(one, root) or not marks.lie_in(root, one)] for root in roots
        }

        def is_held(real: Path, root: Path) -> bool:
            if not real.is_relative_to(root) or any(part.startswith(".") for part in real.relative_to(root).parts):
                return False
            return not any(marks.lie_in(real, one) for one in barred[root])

        return [path for path in paths if not any(is_held(path.resolve(), root) for root in roots)]


class _Marks:
    """Tells files by what they are on the disk: another case, a second name or a second mount is no other place."""

    def __init__(self) -> None:
        self._mark = functools.cache(_mark)
        self._trail = functools.cache(lambda path: {self._mark(one) for one in (path, *path.parents)})

    def lie_in(self, path: Path, place: Path) -> bool:
        """Say whether a path, links resolved, is a place or lies in it."""
        mark = self._mark(place)
        return path.is_relative_to(place) or (mark is not None and mark in self._trail(path))


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def find_files(source: SourceSpec, roots: SourceRoots | None) -> list[Path]:
    """Return the files of a source, links resolved, in order of their names.

    Args:
        source: Which.
        roots: Where they may lie; None for a person who reads their own files on their own machine.

    Raises:
        InvalidInput: There are none, or one lies where it may not; what is there outside is not told.
    """
    parts = Path(source.location).parts
    start = _start(source.location)
    fixed = len(start.parts)
    if roots is not None and (".." in parts or not roots.hold(start)):
        raise _outside(source.location, roots)
    endings = kind_of(source).endings
    found = sorted(_files(start, parts[fixed:], endings))
    if roots is not None and (strayed := roots.strayed(found)):
        raise _outside(str(strayed[0]), roots)
    if not found:
        raise InvalidInput(
            "no file is there",
            field="source.location",
            value=source.location,
            rule=f"a file, a folder of {', '.join(f'*{each}' for each in endings)}, or a glob, readable by the worker",
            next_step="correct the path, or send the rows with the import",
        )
    return list(dict.fromkeys(path.resolve() for path in found))  # a link beside its file is no other file


def _start(location: str) -> Path:
    try:
        start = place_of(location)
        start.is_dir()  # a name that is too long, or holds a NUL, is known to no system
        start.resolve()
        return start
    except (OSError, ValueError):
        rule = "a path that this system knows"
        raise InvalidInput("this is no path", field="source.location", value=location[:200], rule=rule) from None


def _files(start: Path, pattern: Sequence[str], endings: Sequence[str]) -> Iterator[Path]:
    """Yield the regular files of a file, a folder or a glob.

    Below it hidden ones are left out, and in a folder those with another ending or a name that begins with ``_``, as
    Spark names what is no data.
    """
    is_file = not pattern and not start.is_dir()
    try:
        candidates = [start] if is_file else list(start.glob("/".join(pattern) or "**/*"))
    except ValueError:
        rule = "** stands alone between two slashes"
        raise InvalidInput("this is no glob", field="source.location", value="/".join(pattern), rule=rule) from None
    marks = (".",) if pattern else (".", "_")
    for path in candidates:
        inside = path.relative_to(start).parts
        if not path.is_file() or any(part.startswith(marks) and "=" not in part for part in inside):
            continue
        if pattern or not inside or path.name.lower().endswith(tuple(endings)):
            yield path


def _outside(location: str, roots: SourceRoots) -> InvalidInput:
    return InvalidInput(
        "this path leads to where sources may not lie",
        field="source.location",
        value=location,
        rule=f"below {' or '.join(map(str, roots.allowed))}, links followed; not hidden, no .., none of the platform's",
        next_step="move the files there, or have the operator list their folder in LOOPWRIGHT_SOURCE_ROOTS",
    )
