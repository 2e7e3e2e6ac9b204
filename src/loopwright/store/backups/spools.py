"""Rows that were answered and are not sealed yet: the gateways' spool files beside the database."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec

from loopwright.kernel.errors import Corrupt

WRITER_FILE = "writer.id"
SPOOL = "spool"
_SEGMENT = re.compile(r"[^/\0]+/spool/[^/\0]+/[^/\0]+/[^/\0]+/\d+(\.\d+)?\.(log|bad)\Z")


class SpoolFile(msgspec.Struct, frozen=True):
    """One segment of a gateway's spool: where it lies below the state folder, the name it seals under, its bytes."""

    path: str
    writer: str
    digest: str

    @property
    def checked_path(self) -> str:
        """Its path, if that is one of a segment: whoever wrote the backup chooses no other place.

        Raises:
            Corrupt: It leads elsewhere.
        """
        if not _SEGMENT.match(self.path) or ".." in Path(self.path).parts:
            raise Corrupt("this is no path of a spool file", field="spool", value=self.path)
        return self.path

    @property
    def stream(self) -> tuple[str, str, str]:
        """Project, kind and stream of its rows."""
        project, kind, stream = Path(self.path).parts[-4:-1]
        return project, kind, stream

    @property
    def seq(self) -> int:
        """Its number in its stream."""
        return int(Path(self.path).stem.partition(".")[0])


def segments(state_dir: Path) -> Iterator[tuple[Path, str]]:
    """Yield each segment of every gateway of a state folder with the writer's name; those kept aside too."""
    for writer_file in sorted(state_dir.glob(f"*/{WRITER_FILE}")):
        writer = writer_file.read_text().strip()
        for file in sorted((writer_file.parent / SPOOL).glob("*/*/*/*")):
            if file.suffix in (".log", ".bad"):
                yield file, writer


class Waiting(msgspec.Struct, frozen=True):
    """A gateway's folder in whose spool rows wait to be sealed.

    Args:
        folder: The gateway's.
        files: Segments that hold rows; what was sealed leaves none.
        aside: Segments that were kept aside for a person.
    """

    folder: str
    files: int
    aside: int

    @property
    def sentence(self) -> str:
        """What waits where."""
        many = "1 spool file waits" if self.files == 1 else f"{self.files} spool files wait"
        return f"{many} in {self.folder}: their rows were acknowledged, and are in no log until a gateway runs there"


def waiting(state_dir: Path) -> list[Waiting]:
    """Return the folders of gateways, whoever works on them, in whose spools rows wait to be sealed."""
    found = []
    for folder in sorted(state_dir.glob("gateway-*")):
        files = [file.suffix for file in (folder / SPOOL).glob("*/*/*/*") if _size(file)]
        one = Waiting(str(folder), files.count(".log"), files.count(".bad"))
        if one.files or one.aside:
            found.append(one)
    return found


def sealing_command(folder: str) -> str:
    """Return what starts a gateway on its folder, once a server runs.

    >>> sealing_command("/srv/lw/gateway-0")
    'loopwright up --role gateway --state /srv/lw --gateway-name 0'
    """
    place = Path(folder)
    name = place.name.removeprefix("gateway-")
    return f"loopwright up --role gateway --state {shlex.quote(str(place.parent))} --gateway-name {shlex.quote(name)}"


def _size(file: Path) -> int:
    """Return how large a file is; one that goes meanwhile holds nothing."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def not_sealed(files: list[SpoolFile], sealed: set[tuple[str, str, str, str, int]]) -> list[SpoolFile]:
    """Return the segments whose rows no chunk holds: what was sealed while the backup ran is in both."""
    return [file for file in files if file.path.endswith(".bad") or (file.writer, *file.stream, file.seq) not in sealed]
