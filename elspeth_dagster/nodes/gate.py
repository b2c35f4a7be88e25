"""`gate`: each row goes down exactly one route, the first whose expression is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from elspeth_dagster import expressions
from elspeth_dagster.errors import ExpressionError
from elspeth_dagster.model.result import Rejected
from elspeth_dagster.model.row import JSON, Row
from elspeth_dagster.nodes.base import (
    Columns,
    Decision,
    Emitted,
    Home,
    Mistake,
    StepConfig,
    known,
    mistakes_in_text,
)
from elspeth_dagster.nodes.fork import port_name_mistakes


class GateConfig(StepConfig):
    """Routes are tried in the order written; `otherwise` names where the rest goes."""

    kind: Literal["gate"]
    routes: dict[str, str] = Field(min_length=1, description="Port: the expression that sends a row there.")
    otherwise: str = Field(description="The port for rows that no route takes.")

    def ports(self) -> tuple[str, ...]:
        """The routes in order, then `otherwise`."""
        return tuple(dict.fromkeys([*self.routes, self.otherwise]))

    def decision(self, home: Home) -> dict[str, JSON]:
        """The routes as a list: the first that is true wins, so their order decides."""
        routes: list[JSON] = [[port, expression] for port, expression in self.routes.items()]
        return {**super().decision(home), "routes": routes}

    def mistakes(self, columns: Columns, home: Home) -> Iterator[Mistake]:
        """Port names that cannot be, expressions that are wrong."""
        _ = home
        for port, expression in self.routes.items():
            yield from port_name_mistakes(port, ("routes", port))
            yield from mistakes_in_text(
                ("routes", port), expressions.expression_mistakes(expression, fields=known(columns))
            )
        if self.otherwise not in self.routes:
            yield from port_name_mistakes(self.otherwise, ("otherwise",))

    def compile(self, home: Home) -> _Gate:
        """Make it ready for rows."""
        _ = home
        routes = tuple(
            (port, source, expressions.Expression.compile(source, where=f"routes.{port}"))
            for port, source in self.routes.items()
        )
        return _Gate(routes, self.otherwise)


@dataclass(frozen=True, slots=True)
class _Gate:
    routes: tuple[tuple[str, str, expressions.Expression], ...]
    otherwise: str

    def decide(self, row: Row) -> Decision:
        for port, source, expression in self.routes:
            try:
                if expression.truth(row):
                    return Emitted(row, port, source)
            except ExpressionError as error:
                return Rejected("expression_failed", error.what, facts={"route": port})
        return Emitted(row, self.otherwise, None)
