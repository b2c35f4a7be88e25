"""Find the function that a declaration names as `module:function`, and what its source stands on."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Home
from elspeth_dagster.nodes.python_import import Folder, active_in
from elspeth_dagster.nodes.python_raised import shown
from elspeth_dagster.nodes.python_source import source_hash

_NAME = r"[^\W\d]\w*"
CALL_PATTERN: Final = rf"^{_NAME}(\.{_NAME})*:{_NAME}$"


@dataclass(frozen=True, slots=True)
class Found:
    """The function that a declaration names.

    ``function`` makes its folder active while it runs, one call at a time in a process. ``plain`` is for any number of
    threads, called while ``active`` lasts.
    """

    plain: Callable[..., object]
    source_sha256: str
    folder: Folder | None

    @property
    def function(self) -> Callable[..., object]:
        """To be called by itself."""
        return self.plain if self.folder is None else active_in(self.folder, self.plain)

    def active(self) -> AbstractContextManager[None]:
        """While it lasts, what the function imports is found."""
        return nullcontext() if self.folder is None else self.folder.active()


def find_function(call: str, home: Home) -> Found:
    """Import what ``call`` names.

    Raises:
        DeclarationError: it is not there, cannot be imported, or cannot be called with one argument.
    """
    module_name, _, name = call.partition(":")
    folder = Folder(home.base.resolve())
    if folder.is_shadowed(module_name):
        raise DeclarationError(
            f"Python's standard library has a module {module_name!r}: give the file another name.",
            mistakes=(),
        )
    try:
        module = folder.load(module_name)
    except (Exception, SystemExit) as error:  # importing runs the user's code: what it raises is a mistake
        raise DeclarationError(_import_failed(module_name, folder, error), mistakes=()) from error
    function = getattr(module, name, None)
    if not callable(function):
        public = [other for other, value in vars(module).items() if callable(value) and other[0] != "_"]
        raise DeclarationError(
            f"Module {module_name!r} has no function {name!r}.{suggest(name, public)}", mistakes=()
        )
    if (unfit := _unfit(function)) is not None:
        raise DeclarationError(f"Function {call!r} {unfit}", mistakes=())
    own = None if folder.file(module_name) is None else folder
    return Found(function, source_hash(module, name, folder), own)


def _import_failed(module_name: str, folder: Folder, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
        return f"There is no module {module_name!r}.{suggest(module_name, folder.names)}"
    lines = [
        frame for frame in traceback.extract_tb(error.__traceback__) if str(folder.base) in frame.filename
    ]
    place = f" (line {lines[-1].lineno})" if lines else ""
    return f"Module {module_name!r} cannot be imported: {shown(error)}{place}"


def _unfit(function: Callable[..., object]) -> str | None:
    """Why ``function`` cannot be called with one argument; None if it can, or if nothing is known of it."""
    if inspect.iscoroutinefunction(function):
        return "is `async`: write a plain function."
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in ones do not tell
        return None
    try:
        signature.bind({})
    except TypeError as error:
        return f"cannot be called with one row: {error}."
    return None
