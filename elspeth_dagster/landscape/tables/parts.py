"""What the tables are made of: columns and constraints that many of them share."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, ForeignKey, ForeignKeyConstraint, LargeBinary, MetaData, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Only these values."""
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def hash_column(name: str, *, nullable: bool = True) -> Column[bytes]:
    """A column of hashes."""
    return Column(name, LargeBinary, nullable=nullable)


def record_hash(*, closes: bool = False) -> Column[bytes]:
    """The hash of the record itself; one that ``closes`` is hashed when it does."""
    return Column("record_hash", LargeBinary, nullable=closes)


def text_column(name: str, *, nullable: bool = False) -> Column[str]:
    """A column of text, or of JSON as text."""
    return Column(name, Text, nullable=nullable)


def execution() -> Column[str]:
    """The execution that made the record final."""
    return Column("execution_id", Text, ForeignKey("node_executions.execution_id"), nullable=False)


def node_key(*, node: str = "node_id") -> ForeignKeyConstraint:
    """The node that the record is of."""
    return ForeignKeyConstraint(["run_id", node], ["nodes.run_id", "nodes.node_id"])
