"""Import a user's module from the declaration's own folder, apart from everybody else's modules.

Two pipelines may each have a `rules.py`: a folder's modules stand in ``sys.modules`` only while the folder is active,
that is while they are imported and while their functions run. A module is read from its source each time a pipeline is
loaded, never from cached bytecode: what is hashed is what runs.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType

_ACTIVE = threading.RLock()
"""``sys.modules`` is one for the whole process: one folder is active at a time."""


class Folder(importlib.abc.MetaPathFinder):
    """The modules of one folder. Modules of the standard library keep their names."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.names = frozenset(_module_names(base) - sys.stdlib_module_names)
        self._found: set[str] = set()
        self._own: dict[str, ModuleType] = {}

    def file(self, name: str) -> Path | None:
        """The source file of the module ``name``, if it is this folder's."""
        if name.partition(".")[0] not in self.names:
            return None
        place = self.base.joinpath(*name.split("."))
        candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
        return next((file for file in candidates if file.is_file()), None)

    def is_shadowed(self, name: str) -> bool:
        """Whether a file of this folder has the name of a standard module, and so is never imported."""
        return name in sys.stdlib_module_names and (self.base / f"{name}.py").is_file()

    def load(self, name: str) -> ModuleType:
        """Import ``name``, from here if it is here.

        Raises:
            Exception: whatever the module raises.
        """
        if self.file(name) is None:
            return importlib.import_module(name)
        top = name.partition(".")[0]
        below = {other for other in sys.modules if other.startswith(f"{top}.")}
        with self.active(hidden=below if self._is_foreign(top) else set()):
            return importlib.import_module(name)

    @contextmanager
    def active(self, *, hidden: AbstractSet[str] = frozenset()) -> Iterator[None]:
        """While it lasts, imports look here first, and other modules of the same names are ``hidden``."""
        with _ACTIVE:
            names = {name for name in self.names if self._is_foreign(name)} | hidden | self._own.keys()
            others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
            sys.modules.update(self._own)
            sys.meta_path.insert(0, self)
            try:
                yield
            finally:
                sys.meta_path.remove(self)
                loaded = {name for name in self._found if name in sys.modules}
                self._own = {name: sys.modules.pop(name) for name in loaded}
                sys.modules.update(others)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The import system asks: is this module here?"""
        _ = path, target
        file, folder = self.file(fullname), self.base.joinpath(*fullname.split("."))
        if file is not None:
            loader = _FromSource(fullname, str(file))
            spec = importlib.util.spec_from_file_location(fullname, file, loader=loader)
        elif fullname.partition(".")[0] in self.names and any(folder.glob("*.py")):
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(folder)]
        else:
            return None
        self._found.add(fullname)
        return spec

    def _is_foreign(self, name: str) -> bool:
        """Whether another module of this name, not this folder's file, is imported."""
        if name not in sys.modules or name in self._own:
            return False
        file = getattr(sys.modules[name], "__file__", None)
        return file is None or not Path(file).is_relative_to(self.base)


def _module_names(base: Path) -> set[str]:
    """What may be imported from ``base``: its modules, and its folders with modules in them (not those of data)."""
    if not base.is_dir():
        return set()
    folders = {place.name for place in base.iterdir() if place.is_dir() and any(place.glob("*.py"))}
    return folders | {file.stem for file in base.glob("*.py")}


class _FromSource(importlib.machinery.SourceFileLoader):
    """Reads no cached bytecode: it can be older than an edit of the same second and size."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def active_in(folder: Folder, function: Callable[..., object]) -> Callable[..., object]:
    """``function``, run while ``folder`` is active: what it imports when it is called is found as well."""

    def call(*given: object) -> object:
        with folder.active():
            return function(*given)

    return call
