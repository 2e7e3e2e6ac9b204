"""User functions in the gateway: each packed project lives under a package of its own digest, releases side by side."""

import builtins
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import StepFailed
from loopwright.store.blobs.base import check_digest

_DIGEST_LETTERS = 16


class ProjectCode:
    """The modules of one packed project, imported as ``loopwright_code_<digest>.<module>``.

    Inside them ``import name`` finds the project's own files first; nothing is put on ``sys.path``.
    """

    def __init__(self, digest: str, folder: Path) -> None:
        self.folder = folder
        self.package = f"loopwright_code_{digest[:_DIGEST_LETTERS]}"
        if self.package not in sys.modules:
            root = ModuleType(self.package)
            root.__path__ = [str(folder)]
            sys.modules[self.package] = root

    def load(self, name: str) -> ModuleType:
        """Import a module of the project by its dotted name.

        Raises:
            StepFailed: There is none, or importing it raised.
        """
        try:
            return self._load(name)
        except ImportError as error:
            raise StepFailed(f"the project's code cannot be imported here: {error}", field=name) from None
        except Exception as error:
            raise StepFailed(f"importing {name} raised {type(error).__name__}: {error}", field=name) from error

    def _load(self, name: str) -> ModuleType:
        full = f"{self.package}.{name}"
        if full in sys.modules:
            return sys.modules[full]
        parent, _, leaf = name.rpartition(".")
        above = self._load(parent) if parent else sys.modules[self.package]
        if full in sys.modules:
            return sys.modules[full]
        module = importlib.util.module_from_spec(self._spec(full, name))
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        sys.modules[full] = module
        try:
            if module.__spec__ is not None and module.__spec__.loader is not None:
                module.__spec__.loader.exec_module(module)
        except BaseException:
            del sys.modules[full]
            raise
        setattr(above, leaf, module)
        return module

    def _spec(self, full: str, name: str) -> ModuleSpec:
        path = self.folder.joinpath(*name.split("."))
        spec: ModuleSpec | None = None
        if (path / "__init__.py").is_file():
            spec = importlib.util.spec_from_file_location(
                full, path / "__init__.py", submodule_search_locations=[str(path)]
            )
        elif path.with_suffix(".py").is_file():
            spec = importlib.util.spec_from_file_location(full, path.with_suffix(".py"))
        elif path.is_dir():
            spec = ModuleSpec(full, None, is_package=True)
            spec.submodule_search_locations = [str(path)]
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return spec

    def _owns(self, name: str) -> bool:
        path = self.folder / name.split(".", 1)[0]
        return path.with_suffix(".py").is_file() or any(path.glob("*.py"))

    def _import(
        self,
        name: str,
        inside: Mapping[str, Any] | None = None,
        around: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level:
            package = str((inside or {}).get("__package__") or self.package)
            name = importlib.util.resolve_name("." * level + name, package).removeprefix(self.package).lstrip(".")
        elif not self._owns(name):
            return builtins.__import__(name, inside, around, fromlist or (), level)
        module = self._load(name) if name else sys.modules[self.package]
        if not fromlist:
            return self._load(name.split(".", 1)[0])
        for item in fromlist:
            inner = f"{name}.{item}" if name else item
            if item != "*" and not hasattr(module, item) and self._is_module(inner):
                self._load(inner)
        return module

    def _is_module(self, name: str) -> bool:
        path = self.folder.joinpath(*name.split("."))
        return path.is_dir() or path.with_suffix(".py").is_file()


class CodeShelf:
    """Packed projects that lie unpacked on the disk.

    Args:
        root: Folder that holds them by digest.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._projects: dict[str, ProjectCode] = {}

    def function(self, code: CodeRef) -> Callable[..., Any]:
        """Return a user function by name.

        Raises:
            StepFailed: It cannot be imported or is not there.
            InvalidInput: The code's digest is none.
        """
        found: Any = self._project(code.digest).load(code.module)
        for part in code.qualname.split("."):
            found = getattr(found, part, None)
            if found is None:
                raise StepFailed(f"{code.module} has no {code.qualname}", field=code.qualname, value=code.digest)
        if not inspect.isfunction(found):
            # Declaring wraps a function in a handle that keeps it as ``function``.
            found = getattr(found, "function", found)
        return found  # type: ignore[no-any-return]

    def _project(self, digest: str) -> ProjectCode:
        if digest not in self._projects:
            self._projects[digest] = ProjectCode(digest, self._root / check_digest(digest))
        return self._projects[digest]
