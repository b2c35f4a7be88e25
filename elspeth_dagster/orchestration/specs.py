"""What stands on an asset's page before it is materialized: description, kinds, owners, columns, its line of YAML."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

import dagster as dg

from elspeth_dagster.model.canonical import canonical_bytes, plain_hash
from elspeth_dagster.model.row import JSON
from elspeth_dagster.nodes.database import DatabaseConfig
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.source import AssetSourceConfig
from elspeth_dagster.orchestration.automation import automation_condition, freshness_policy
from elspeth_dagster.orchestration.column_lineage import column_lineage
from elspeth_dagster.orchestration.columns import column_schema
from elspeth_dagster.orchestration.keys import upstream_key
from elspeth_dagster.pipeline import Node, Pipeline
from elspeth_dagster.pipeline.column_types import Types

CODE_VERSION_CHARS: Final = 12

_SAYS_NOTHING: Final = frozenset({"description", "allow_outside"})
"""Keys of a sink that change nothing about what it writes."""

_KIND_TAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "csv": ("csv", "file"),
    "jsonl": ("json", "file"),
    "parquet": ("parquet", "file"),
    "asset": ("table",),
    "python": ("python",),
}
"""Those that Dagster has an icon for, maybe under another name. It shows three kinds at most."""

_ANY_STEP: Final = "task"
"""The icon of a step that Dagster has none for."""

_DATABASE_TAGS: Final[Mapping[str, str]] = {"postgresql": "postgres", "mssql": "sqlserver"}
"""Where Dagster has a database's icon under another name. One whose URL only the run knows is a table."""

_WHAT: Final[Mapping[str, str]] = {
    "source": "Reads rows",
    "sink": "Writes rows",
    "llm": "Asks a model about each row",
    "gate": "Sends each row down one route",
    "fork": "Sends each row down every branch",
    "coalesce": "Joins the branches of a fork",
    "aggregate": "Works on rows in batches",
    "expand": "Makes a row of each element of a list",
    "python": "Calls a function for each row",
    "map": "Renames, drops and computes fields",
    "keyword_filter": "Looks for words in fields",
}


def spec_of(pipeline: Pipeline, node: Node, key: dg.AssetKey, types: Types) -> dg.AssetSpec:
    """The asset of one port of a node."""
    options = pipeline.head.dagster
    return dg.AssetSpec(
        key=key,
        deps=_deps(pipeline, node),
        description=_description(pipeline, node, key),
        group_name=options.group or pipeline.name,
        kinds=_kinds(pipeline, node),
        owners=options.owners,
        tags={**options.tags, "elspeth/pipeline": pipeline.name, "elspeth/role": node.role},
        code_version=code_version(node),
        automation_condition=automation_condition(pipeline),
        freshness_policy=freshness_policy(pipeline, node),
        metadata={
            **column_schema(node, types),
            **_lineage(pipeline, node),
            **_code_reference(pipeline, node),
        },
    )


@contextlib.contextmanager
def quiet_about_beta() -> Iterator[None]:
    """Dagster calls code references beta, and says so whenever a spec that has them is made or copied."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def code_version(node: Node) -> str:
    """Changes when, and only when, the node may decide differently, or a sink write something else, or elsewhere."""
    does: dict[str, JSON] = {"kind": node.kind, **node.decision}
    if node.role == "sink":
        said = node.config.operational_values().items()
        does |= {key: value for key, value in said if key not in _SAYS_NOTHING}
    return plain_hash(canonical_bytes(does)).hex()[:CODE_VERSION_CHARS]


def _deps(pipeline: Pipeline, node: Node) -> list[dg.AssetKey]:
    if isinstance(node.config, AssetSourceConfig):
        return [dg.AssetKey(node.config.asset)]
    return list(dict.fromkeys(upstream_key(pipeline, port) for port in node.inputs))


def _kinds(pipeline: Pipeline, node: Node) -> set[str]:
    if isinstance(node.config, LlmConfig):
        settings = pipeline.model(node.config.model)
        return {"llm", "openai" if settings is None else settings.provider}
    if isinstance(node.config, DatabaseConfig):
        return {"sql", _DATABASE_TAGS.get(node.config.backend or "", node.config.backend or "table")}
    return set(_KIND_TAGS.get(node.kind, (node.kind, _ANY_STEP)))


def _description(pipeline: Pipeline, node: Node, key: dg.AssetKey) -> str:
    """The author's words, else what such a node does; and for a port, which rows it is."""
    said = node.config.description or f"{_what(node)}."
    if len(key.path) > len((pipeline.name, node.node_id)):
        return f"{said}\n\nThe rows that leave by `{key.path[-1]}`."
    return said


def _what(node: Node) -> str:
    what = _WHAT.get(node.role) or _WHAT.get(node.kind, "Decides about rows")
    path = getattr(node.config, "path", None)
    place = node.config.where() if isinstance(node.config, DatabaseConfig) else path and f"`{path}`"
    where = {"source": "from", "sink": "to"}.get(node.role)
    return what if not place or where is None else f"{what} {where} {place}"


def _lineage(pipeline: Pipeline, node: Node) -> dict[str, Any]:
    lineage = column_lineage(pipeline, node)
    return {} if lineage is None else {"dagster/column_lineage": lineage}


def _code_reference(pipeline: Pipeline, node: Node) -> dict[str, Any]:
    """The line of the declaration: Dagster's UI links to it, in an editor or in a repository."""
    file = pipeline.places.file
    if file is None:
        return {}
    with quiet_about_beta():
        reference = dg.LocalFileCodeReference(
            file_path=str(file), line_number=node.line, label=f"{node.node_id} in YAML"
        )
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
