"""Write the locks anew with uv: ``python -m tools.write_locks [--upgrade]``. Without it known versions stay.

One lock serves every promised Python, processor and system: versions are resolved once for all of them, and the hashes
of every file of a version are kept, wheels and sources, so that whoever installs may get another file of it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.locks import FOLDER, LOCKS, TOOLS, head, requirements

OLDEST_PYTHON = "3.11"


def main() -> int:
    """Write every lock, and say what changed."""
    uv = shutil.which("uv")
    if uv is None:
        print("locks: uv is needed: make lock brings it along")
        return 1
    root = Path(__file__).resolve().parent.parent
    for name in LOCKS:
        _write(uv, root, name, sys.argv[1:])
    return 0


def _write(uv: str, root: Path, name: str, options: list[str]) -> None:
    target = root / FOLDER / f"{name}.txt"
    target.parent.mkdir(exist_ok=True)
    before = target.read_text("utf-8") if target.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        wanted, made = Path(folder, f"{name}.in"), Path(folder, f"{name}.txt")
        wanted.write_text("\n".join(requirements(root, name)) + "\n", "utf-8")
        made.write_text(before, "utf-8")  # what it pins is kept where it still fits
        command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON]
        command += ["--generate-hashes", "--no-header", "--no-annotate", *_constraints(root, name), *options]
        subprocess.run([*command, str(wanted), "--output-file", str(made)], check=True)
        after = f"{head(root, name)}\n{made.read_text('utf-8')}"
    target.write_text(after, "utf-8")
    print(f"locks: {name} {'stays' if after == before else 'changed'}, {after.count('==')} packages")


def _constraints(root: Path, name: str) -> list[str]:
    """Return what holds the smaller sets to the versions of the largest: what is tested is what is served."""
    largest = root / FOLDER / "dev.txt"
    return ["--constraint", str(largest)] if name not in (*TOOLS, "dev") else []


if __name__ == "__main__":
    sys.exit(main())
