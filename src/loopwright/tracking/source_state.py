"""The state of the code in git. Called in the process that trains."""

import hashlib
import subprocess
from pathlib import Path

from loopwright.tracking.types import SourceState

TIMEOUT_S = 10.0
# A repository may name programs in its own settings; none of them is to run because we look at it.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=")


def read_source_state(folder: Path, code_digest: str = "") -> SourceState:
    """Return commit, dirty flag and patch digest of the folder's repository.

    The commit is empty outside git, and where git ignores the folder.

    Args:
        folder: The project's folder; only changes below it count.
        code_digest: Digest of the packed code, kept as it is.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    # Of a folder that git ignores no commit says what is in it.
    if commit is None or not _git(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "."):
        return SourceState(code_digest=code_digest)
    patch = _git(folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--", ".")
    untracked = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    hashed = hashlib.sha256(patch or b"")
    for name in sorted(filter(None, (untracked or b"").split(b"\0"))):
        hashed.update(b"\0" + name + b"\0" + _file_digest(folder / name.decode("utf-8", "surrogateescape")))
    is_dirty = bool(patch or untracked)
    return SourceState(commit.decode().strip(), is_dirty, hashed.hexdigest() if is_dirty else "", code_digest)


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return what git prints, or None where there is no git, no repository, or no answer in time."""
    try:
        done = subprocess.run([*_GIT, *arguments], cwd=folder, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
