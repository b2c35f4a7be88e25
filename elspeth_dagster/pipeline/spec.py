"""The shape of a declaration, as pydantic models; what its parts mean together is checked elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from elspeth_dagster.llm import ModelSettings
from elspeth_dagster.nodes.base import StepConfig
from elspeth_dagster.nodes.sink import FileSinkConfig
from elspeth_dagster.nodes.source import FileSourceConfig

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Execution(_Part):
    """How Dagster runs the nodes."""

    executor: Literal["in_process", "multiprocess"] = Field(
        default="in_process", description="`multiprocess` runs sibling branches in processes of their own."
    )


class DagsterOptions(_Part):
    """What Dagster shows and does around the pipeline."""

    group: str | None = Field(default=None, description="The asset group; the pipeline's name by default.")
    owners: list[str] = Field(default_factory=list, description="`team:name` or an e-mail address.")
    tags: dict[str, str] = Field(default_factory=dict)
    pool: str | None = Field(
        default=None, description="A Dagster concurrency pool for the steps that call models."
    )
    retries: int = Field(
        default=0, ge=0, le=20, description="How often Dagster tries a step again after a crash."
    )


class Head(_Part):
    """Everything of a declaration but its nodes."""

    name: Name
    description: str | None = None
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    execution: Execution = Field(default_factory=Execution)
    schedule: str | None = Field(default=None, description="A cron expression, such as `0 6 * * *`.")
    dagster: DagsterOptions = Field(default_factory=DagsterOptions)


class Declaration(_Part):
    """A declaration whose parts are each right by themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    head: Head
    source: FileSourceConfig
    steps: dict[str, StepConfig]
    sinks: dict[str, FileSinkConfig]


NODE_SECTIONS = ("source", "steps", "sinks")
