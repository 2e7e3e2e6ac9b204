"""Where sources may lie: files below the folders that an operator listed.

Whoever declares a dataset names the path, and the worker that opens it can read more than they may. So a path counts
only where it leads in the end, links resolved, as a file that is open by then, and no error repeats what stands in it.
"""

import errno
import functools
import os
import resource
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from loopwright.data.sources.base import SourceFile, kind_of, place_of, unreadable
from loopwright.data.types import SourceSpec
from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge

Mark = tuple[int, int]
"""What a file is on the disk: device and number."""
_OF_THE_SYSTEM = (Path("/proc"), Path("/sys"))
_CAN_HOLD = sys.platform == "linux"
_OPEN_FILES = "/proc/self/fd"


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
        borders = _Borders(self)
        return [path for path in paths if not borders.hold(path.resolve())]


class _Borders:
    """Tells whether files lie where they may, by what they are on the disk: a second name is no other place."""

    def __init__(self, roots: SourceRoots) -> None:
        marks = _Marks()
        self._marks = marks
        closed = [place.resolve() for place in (*roots.closed, *_OF_THE_SYSTEM)]
        # A root inside a closed folder was listed on purpose, as the demo lists its project.
        self._barred = {
            root: [one for one in closed if marks.lie_in(one, root) or not marks.lie_in(root, one)]
            for root in (one.resolve() for one in roots.allowed)
        }

    def hold(self, real: Path, mark: Mark | None = None) -> bool:
        """Say whether a path without links lies where it may; ``mark`` is that of what was opened there."""
        return any(self._is_held(real, mark, root) for root in self._barred)

    def _is_held(self, real: Path, mark: Mark | None, root: Path) -> bool:
        if not real.is_relative_to(root) or any(part.startswith(".") for part in real.relative_to(root).parts):
            return False
        return not any(self._marks.lie_in(real, one, mark) for one in self._barred[root])


class _Marks:
    """Tells files by what they are on the disk: another case, a second name or a second mount is no other place."""

    def __init__(self) -> None:
        self._mark = functools.cache(_mark)
        self._trail = functools.cache(lambda path: {self._mark(one) for one in (path, *path.parents)})

    def lie_in(self, path: Path, place: Path, own: Mark | None = None) -> bool:
        """Say whether a path, links resolved, is a place or lies in it; ``own`` is the mark of what was opened."""
        mark = self._mark(place)
        return path.is_relative_to(place) or (mark is not None and (mark == own or mark in self._trail(path)))


def _mark(path: Path) -> Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def find_files(source: SourceSpec, roots: SourceRoots | None) -> Iterator[list[SourceFile]]:
    """Yield the files of a source, links resolved, in order of their names; they can be read until this ends.

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
    with ExitStack() as handles:
        if roots is None or not _CAN_HOLD:
            if roots is not None and (strayed := roots.strayed(found)):
                raise _outside(str(strayed[0]), roots)
            files = [SourceFile(real, real) for real in (path.resolve() for path in found)]
        else:
            files = _held(found, roots, handles)
        if not files:
            raise _nothing(source.location, endings)
        yield list({file.shown: file for file in files}.values())  # a link beside its file is no other file


def _held(found: Sequence[Path], roots: SourceRoots, handles: ExitStack) -> list[SourceFile]:
    """Open files, and let none through that lies where it may not.

    What is asked where it lies is what was opened, and what is read is that too: whoever turns a link in between gets
    nothing else by it. A handle a file is all that it costs, however large files are.
    """
    borders, files = _Borders(roots), list[SourceFile]()
    for path in found:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)  # opens no device, waits for no pipe, reads nothing
        except FileNotFoundError:
            continue  # it went as we looked
        except OSError as error:
            raise _cannot_open(path, error) from None
        try:
            real, status = Path(os.readlink(f"{_OPEN_FILES}/{place}")), os.fstat(place)
            if not borders.hold(real, (status.st_dev, status.st_ino)):
                raise _outside(str(path), roots)
            if not stat.S_ISREG(status.st_mode):
                continue
            handle = os.open(f"{_OPEN_FILES}/{place}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _cannot_open(path, error) from None
        finally:
            os.close(place)
        handles.callback(os.close, handle)
        files.append(SourceFile(real, Path(f"{_OPEN_FILES}/{handle}")))
    return files


def _nothing(location: str, endings: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        "no file is there",
        field="source.location",
        value=location,
        rule=f"a file, a folder of {', '.join(f'*{each}' for each in endings)}, or a glob, readable by the worker",
        next_step="correct the path, or send the rows with the import",
    )


def _cannot_open(path: Path, error: OSError) -> LoopwrightError:
    if error.errno not in (errno.EMFILE, errno.ENFILE):
        return unreadable(str(path), error)
    return TooLarge(
        "these are more files than can be open at once",
        field="source.location",
        rule=f"at most {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} files, as the system says of a process",
        next_step="import them in parts, or write them as fewer files",
    )


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
    if any("**" in part and part != "**" for part in pattern):  # what Python makes of it hangs on its version
        rule = "** stands alone between two slashes"
        raise InvalidInput("this is no glob", field="source.location", value="/".join(pattern), rule=rule)
    candidates = [start] if is_file else list(start.glob("/".join(pattern) or "**/*"))
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
