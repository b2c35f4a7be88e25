"""The shape of a declaration, as pydantic models; what its parts mean together is checked elsewhere."""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.model.suggest import suggest
from elspeth_dagster.pipeline.cron import cron_mistake
from elspeth_dagster.pipeline.partition_spec import Partitions, PartitionsKey

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")
NAME_RULE: Final = "lower case letters, digits and underscores, at most 60: [a-z][a-z0-9_]*"

_KEPT_BY_DAGSTER: Final = frozenset(
    [
        "context",
        "conf",
        "config",
        "meta",
        "arg_dict",
        "dict",
        "input_arg_dict",
        "output_arg_dict",
        "int",
        "str",
        "float",
        "bool",
        "input",
        "output",
        "type",
    ]
)
"""A job cannot have these names, nor a keyword of Python."""

_GROUP: Final = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")
EXECUTORS: Final = ("in_process", "multiprocess", "location", "celery", "k8s", "docker")
_IMPORT_PATH: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_TAG: Final = re.compile(r"[A-Za-z0-9_.-]{0,63}")
_TAG_KEY: Final = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}")
_POOL: Final = re.compile(r"\S+")
_SHOWN_CHARS_MAX: Final = 60


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"The name {name[:60]!r} must be {NAME_RULE}.")
    if name in _KEPT_BY_DAGSTER or keyword.iskeyword(name):
        raise ValueError(f"The name {name!r} has a meaning of its own in Dagster or Python; choose another.")
    return name


def _checked_group(group: str) -> str:
    if not _GROUP.fullmatch(group):
        raise ValueError(f"The group {group[:60]!r} must be letters, digits and underscores.")
    return group


def _checked_owner(owner: str) -> str:
    if not (owner.startswith("team:") and len(owner) > len("team:")) and "@" not in owner[1:-1]:
        raise ValueError(f"The owner {owner[:60]!r} must be `team:name` or an e-mail address.")
    return owner


def _checked_executor(executor: str) -> str:
    if executor not in EXECUTORS and not _IMPORT_PATH.fullmatch(executor):
        known = ", ".join(EXECUTORS)
        raise ValueError(
            f"There is no executor {executor[:60]!r}.{suggest(executor, EXECUTORS)} Executors: {known}, or module:name."
        )
    return executor


def _checked_cron(schedule: str) -> str:
    if (mistake := cron_mistake(schedule)) is not None:
        raise ValueError(mistake)
    return schedule


def _checked_automation(condition: str) -> str:
    if condition in {"eager", "on_missing"} or (mistake := cron_mistake(condition)) is None:
        return condition
    near = suggest(condition, ["eager", "on_missing"]) or f" {mistake}"
    raise ValueError(f"Automation is `eager`, `on_missing`, or a cron expression of five fields.{near}")


def _checked_tags(tags: dict[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        wrong = key if not _TAG_KEY.fullmatch(key) else value
        if wrong is key or not _TAG.fullmatch(value):
            rule = "at most 63 letters, digits, dots, dashes and underscores"
            raise ValueError(f"The tag {wrong[:_SHOWN_CHARS_MAX]!r} must be {rule}.")
    return tags


def _checked_pool(pool: str) -> str:
    if not _POOL.fullmatch(pool):
        raise ValueError(f"The pool {pool[:_SHOWN_CHARS_MAX]!r} must be a name without blanks.")
    return pool


Name = Annotated[str, AfterValidator(_checked_name)]
Group = Annotated[str, AfterValidator(_checked_group)]
Owner = Annotated[str, AfterValidator(_checked_owner)]
Cron = Annotated[str, AfterValidator(_checked_cron)]
Automation = Annotated[str, AfterValidator(_checked_automation)]
Tags = Annotated[dict[str, str], AfterValidator(_checked_tags)]
Pool = Annotated[str, AfterValidator(_checked_pool)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Execution(_Part):
    """How Dagster runs the nodes."""

    executor: Annotated[str, AfterValidator(_checked_executor)] = Field(
        default="in_process",
        description="`in_process`, `multiprocess` (sibling branches in processes of their own), `celery`, `k8s`, "
        "`docker`, `location` (the code location's own), or an executor's import path as `module:name`.",
    )
    config: dict[str, JsonValue] = Field(
        default_factory=dict, description="The executor's own settings, as Dagster documents them."
    )


CHECKS: Final = ("balance", "order", "error_rate", "seal", "reconciliation", "invariants")


class ErrorRate(_Part):
    """The shares of failed rows from which a node's check warns, and fails."""

    warn: float = Field(default=0.05, ge=0, le=1)
    fail: float = Field(default=0.5, ge=0, le=1)


class Checks(_Part):
    """What the asset checks think of a node, and which of them hold up what comes after it."""

    blocking: list[Literal["balance", "order", "error_rate", "seal", "reconciliation", "invariants"]] = Field(
        default_factory=list,
        description=f"Of {', '.join(CHECKS)}: the checks that stop the run when they fail.",
    )
    error_rate: ErrorRate = Field(default_factory=ErrorRate)


class DagsterOptions(_Part):
    """What Dagster shows and does around the pipeline."""

    group: Group | None = Field(default=None, description="The asset group; the pipeline's name by default.")
    owners: list[Owner] = Field(default_factory=list, description="`team:name` or an e-mail address.")
    tags: Tags = Field(default_factory=dict)
    pool: Pool | None = Field(
        default=None, description="A Dagster concurrency pool for the steps that call models."
    )
    pools: dict[str, Pool] = Field(
        default_factory=dict, description="Model: the pool of the steps that call it; all others have `pool`."
    )
    automation: Automation | None = Field(
        default=None,
        description="When Dagster materializes the pipeline by itself: `eager`, `on_missing`, or a cron expression.",
    )
    freshness: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        default=None, description="Hours after which a sink that was not materialized again counts as stale."
    )
    checks: Checks = Field(default_factory=Checks, description="Thresholds, and which checks block.")
    retries: int = Field(
        default=0, ge=0, le=20, description="How often Dagster tries a step again after a crash."
    )


class Head(_Part):
    """Everything of a declaration but its nodes."""

    name: Name
    description: str | None = None
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    execution: Execution = Field(default_factory=Execution)
    partitions: PartitionsKey | None = Field(
        default=None,
        description="`{shards: 16}`, `{daily: {start: 2026-01-01}}`, `{static: [a, b]}` or `dynamic`.",
    )
    schedule: Cron | None = Field(default=None, description="A cron expression, such as `0 6 * * *`.")
    watch: str | None = Field(
        default=None,
        description="A pattern such as `inbox/*.csv`: each new file becomes a partition, and is run.",
    )
    dagster: DagsterOptions = Field(default_factory=DagsterOptions)

    @property
    def division(self) -> Partitions | None:
        """How its rows are divided into runs; a watched folder's files are dynamic partitions."""
        if self.partitions is None and self.watch is not None:
            return Partitions(dynamic=True)
        return self.partitions


NODE_SECTIONS = ("source", "steps", "sinks")
