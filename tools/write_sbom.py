"""Write a bill of materials from a lock, in CycloneDX: ``python -m tools.write_sbom [serve]`` prints it."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from tools.locks import FOLDER, read_pins


def bill(root: Path, name: str) -> dict[str, Any]:
    """Return the bill of what a lock installs; the lock itself has the hashes of every file."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    parts = [
        {"type": "library", "name": pin.name, "version": pin.version, "purl": f"pkg:pypi/{pin.name}@{pin.version}"}
        for pin in read_pins((root / FOLDER / f"{name}.txt").read_text("utf-8"))
    ]
    whole = {"type": "application", "name": project["name"], "version": project["version"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": whole},
        "components": parts,
    }


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "serve"
    print(json.dumps(bill(Path(__file__).resolve().parent.parent, chosen), indent=1))
