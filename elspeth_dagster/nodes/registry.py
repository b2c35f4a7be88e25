"""Kinds of nodes by name: this package's own, and those that other packages and projects add.

Others add a kind with ``@node_kind``, in a module that their project imports, or that their package names in the entry
point group ``elspeth_dagster.nodes``. Entry points are loaded only when a declaration names what is not built in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Final, Generic, TypeVar, get_args

from elspeth_dagster.errors import DeclarationError
from elspeth_dagster.nodes.base import NodeConfig, StepConfig

GROUP: Final = "elspeth_dagster.nodes"

Config = TypeVar("Config", bound=NodeConfig)
Step = TypeVar("Step", bound=StepConfig)


class Kinds(Mapping[str, type[Config]], Generic[Config]):
    """The kinds that may stand in one section of a declaration. ``base`` is what each of them is."""

    def __init__(self, base: type[Config], own: Mapping[str, type[Config]]) -> None:
        self._base = base
        self._own = dict(own)
        self._added: dict[str, type[Config]] = {}
        self._is_loaded = False

    def __getitem__(self, kind: str) -> type[Config]:
        if kind in self._own:
            return self._own[kind]
        return self._others()[kind]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self._others()])

    def __len__(self) -> int:
        return len(self._own) + len(self._others())

    def add(self, kind: str, config: type[Config]) -> None:
        """Offer another kind.

        Raises:
            DeclarationError: the name is taken by another class.
        """
        taken = self._own.get(kind) or self._added.get(kind)
        if taken is not None and (taken.__module__, taken.__qualname__) != (
            config.__module__,
            config.__qualname__,
        ):
            raise _refused(kind, f"is the name of {taken.__module__}.{taken.__qualname__} already")
        self._added[kind] = config

    def _others(self) -> Mapping[str, type[Config]]:
        """What was added, and what entry points name."""
        if not self._is_loaded:
            self._is_loaded = True
            for entry in entry_points(group=GROUP):
                try:
                    found = entry.load()
                except Exception as error:
                    self._is_loaded = False
                    raise _refused(
                        entry.name, f"cannot be loaded: {type(error).__name__}: {error}"
                    ) from error
                if isinstance(found, type) and issubclass(found, self._base):
                    self.add(kind_of(found), found)
        return self._added


def kind_of(config: type[NodeConfig]) -> str:
    """The name that a configuration's ``kind`` field allows.

    Raises:
        DeclarationError: it does not say ``kind: Literal["name"]``.
    """
    names = get_args(config.model_fields["kind"].annotation)
    if len(names) != 1 or not isinstance(names[0], str):
        raise _refused(config.__qualname__, 'needs a field `kind: Literal["its_name"]`')
    return names[0]


def _refused(kind: str, what: str) -> DeclarationError:
    mistake = f"the kind {kind!r} {what}"
    return DeclarationError(f"A kind of node cannot be offered: {mistake}.", mistakes=(mistake,))
