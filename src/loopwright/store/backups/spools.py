"""Rows that were answered and are not sealed yet: the gateways' spool files beside the database."""

import re
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


def not_sealed(files: list[SpoolFile], sealed: set[tuple[str, str, str, str, int]]) -> list[SpoolFile]:
    """Return the segments whose rows no chunk holds: what was sealed while the backup ran is in both."""
    return [file for file in files if file.path.endswith(".bad") or (file.writer, *file.stream, file.seq) not in sealed]
