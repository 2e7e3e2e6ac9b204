"""A disk that has become read-only under a process, as kernels make one on which writes fail."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@contextmanager
def read_only(number: int = errno.EROFS) -> Iterator[None]:
    """Have every call of this process that changes something on a disk fail, whatever handles it has."""

    def fail(*_args: Any, **_options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    opened, opened_path = os.open, Path.open

    def open_handle(path: Any, flags: int, *args: Any, **options: Any) -> int:
        return fail() if flags & _WRITES else opened(path, flags, *args, **options)

    def open_path(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        return fail() if set(mode) & set("wax+") else opened_path(self, mode, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "ftruncate", "truncate", "mkdir", "rename", "replace", "link", "chmod"):
            patch.setattr(os, name, fail)
        patch.setattr(os, "open", open_handle)
        patch.setattr(Path, "open", open_path)
        yield
