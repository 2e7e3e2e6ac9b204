"""Access tokens that ``loopwright login`` keeps, one a server, in a file that only its owner can read."""

import json
import os
import tempfile
from pathlib import Path

from loopwright.config import config_folder
from loopwright.kernel.errors import Unavailable


def tokens_file() -> Path:
    """Return the file in which tokens are kept."""
    return config_folder() / "tokens.json"


def find_token(url: str) -> str:
    """Return the token that is kept for a server's address; empty if there is none.

    Raises:
        Unavailable: The file cannot be read.
    """
    return _read().get(url.rstrip("/"), "")


def keep_token(url: str, token: str) -> Path:
    """Keep a token for a server's address in place of the one before, none if it is empty; returns the file.

    Raises:
        Unavailable: The file cannot be written.
    """
    kept = {name: value for name, value in _read().items() if name != url.rstrip("/")}
    if token:
        kept[url.rstrip("/")] = token
    path = tokens_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".tokens", dir=path.parent)  # made for the owner alone
        with os.fdopen(handle, "w") as file:
            json.dump(kept, file, indent=2)
        Path(draft).replace(path)
    except OSError as error:
        raise _broken(f"{path}: {error.strerror}", "check owner and permissions of the folder") from None
    return path


def _read() -> dict[str, str]:
    path = tokens_file()
    try:
        document = json.loads(path.read_text())
        return {str(url): str(token) for url, token in document.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise _broken(f"{path}: {error}", "mend or remove it, then: loopwright login") from None


def _broken(value: str, next_step: str) -> Unavailable:
    return Unavailable(
        "the file of access tokens cannot be used", field="tokens_file", value=value, next_step=next_step
    )
