"""`python`: a function of the user's own, a row in and a row out."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar, Literal

from pydantic import Field

from elspeth_dagster.errors import DeclarationError, NotJSONError
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row, normalised
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.nodes.base import Columns, Decision, Emitted, Home, Mistake, StepConfig


class PythonConfig(StepConfig):
    """`call: package.module:function`; the declaration's folder is importable."""

    operational: ClassVar[frozenset[str]] = StepConfig.operational | {"determinism_declared"}

    kind: Literal["python"]
    call: str = Field(pattern=r"^[\w.]+:\w+$", description="`module:function`, a row in and a row out.")
    determinism_declared: Literal["deterministic", "nondeterministic"] = Field(
        default="deterministic",
        alias="determinism",
        description="Whether the same row always gives the same row.",
    )
    columns: list[str] | None = Field(
        default=None,
        description="The columns of the rows that it returns, where later steps should be checked.",
    )

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """A module or function that is not there."""
        _ = columns
        try:
            _function(self.call, home)
        except DeclarationError as error:
            yield Mistake(("call",), error.what)

    def decision(self, home: Home) -> dict[str, JSON]:
        """The function's own source counts: a changed function decides differently."""
        return {**super().decision(home), "source_sha256": _source_hash(_function(self.call, home))}

    def columns_out(self, columns: Columns) -> Columns:
        """What the declaration promises; otherwise unknown."""
        _ = columns
        return None if self.columns is None else tuple(self.columns)

    def compile(self, home: Home) -> _Caller:
        """Import the function."""
        return _Caller(self.call, _function(self.call, home))


@dataclass(frozen=True, slots=True)
class _Caller:
    call: str
    function: Callable[[Row], object]

    def decide(self, row: Row) -> Decision:
        try:
            made = self.function(dict(row))
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything: it is this row's error
            return Rejected(
                "step_raised", f"{type(error).__name__}: {error}", facts={"error_type": type(error).__name__}
            )
        if not isinstance(made, dict):
            got = type(made).__name__
            return Rejected(
                "step_returned_no_row", f"{self.call} returned {got}, not a dict.", facts={"returned": got}
            )
        try:
            return Emitted(normalised(made))
        except NotJSONError as error:
            return Rejected("not_json", error.what, facts={"field": error.field})


def _function(call: str, home: Home) -> Callable[[Row], object]:
    module_name, _, name = call.partition(":")
    try:
        module = _module(module_name, home)
    except (
        Exception
    ) as error:  # importing runs the user's code: whatever it raises is a mistake of the declaration
        raise DeclarationError(
            f"Module {module_name!r} cannot be imported: {type(error).__name__}: {error}", mistakes=()
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        public = [
            other for other, value in vars(module).items() if callable(value) and not other.startswith("_")
        ]
        raise DeclarationError(
            f"Module {module_name!r} has no function {name!r}.{suggest(name, public)}", mistakes=()
        )
    found: Callable[[Row], object] = function
    return found


def _module(name: str, home: Home) -> ModuleType:
    """Import ``name``, first from the declaration's own folder.

    A file there gets a name of its own in `sys.modules`: two pipelines may both have a `rules.py`.
    """
    file = home.base.joinpath(*name.split(".")).with_suffix(".py")
    with _importable(str(home.base)):
        if not file.is_file():
            return importlib.import_module(name)
        unique = f"elspeth_pipeline_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}.{name}"
        if unique in sys.modules:
            return sys.modules[unique]
        spec = importlib.util.spec_from_file_location(unique, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no Python module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[unique]
            raise
        return module


@contextlib.contextmanager
def _importable(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _source_hash(function: Callable[[Row], object]) -> str:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # built in, or made at run time: its name is all there is
        source = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    return hashlib.sha256(source.encode()).hexdigest()
