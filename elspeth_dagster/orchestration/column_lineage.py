"""Which columns before a node each of its columns is made of: for Dagster's column lineage.

A column that goes through is made of itself. One that a model answers is made of what its prompts read, a computed one
of what its expression reads; where a function decides, of everything that reaches it.
"""

from collections.abc import Iterable, Mapping

import dagster as dg

from elspeth_dagster import expressions
from elspeth_dagster.nodes.llm import LlmConfig
from elspeth_dagster.nodes.llm_queries import Part
from elspeth_dagster.nodes.map import MapConfig
from elspeth_dagster.orchestration.keys import upstream_key
from elspeth_dagster.pipeline import Node, Pipeline, Port


def column_lineage(pipeline: Pipeline, node: Node) -> dg.TableColumnLineage | None:
    """The lineage of a node's columns; None where they are not known, or nothing is before them."""
    columns = node.columns_in if node.role == "sink" else node.columns_out
    if columns is None or not node.inputs:
        return None
    made_of = _made_of(node, pipeline)
    return dg.TableColumnLineage(
        {name: list(_deps(pipeline, node.inputs, made_of.get(name, frozenset({name})))) for name in columns}
    )


def _deps(pipeline: Pipeline, ports: Iterable[Port], names: frozenset[str]) -> Iterable[dg.TableColumnDep]:
    for port in ports:
        there = pipeline.nodes[port.node_id].columns_out or ()
        for name in sorted(names.intersection(there)):
            yield dg.TableColumnDep(asset_key=upstream_key(pipeline, port), column_name=name)


def _made_of(node: Node, pipeline: Pipeline) -> Mapping[str, frozenset[str]]:
    """The columns that are not just themselves."""
    config, reaching = node.config, frozenset(node.columns_in or ())
    if isinstance(config, LlmConfig):
        return {
            field: _read_by_prompts(part, config, reaching)
            for part in config.parts(pipeline.home)
            for field in part.fields or config.answer_fields()
        }
    if isinstance(config, MapConfig):
        renamed = {new: frozenset({old}) for old, new in config.rename.items()}
        return renamed | {name: _read_by_expression(text, reaching) for name, text in config.set.items()}
    if node.kind in _PASSES_ON or node.role == "sink":
        return {}
    return dict.fromkeys(set(node.columns_out or ()) - reaching, reaching)


_PASSES_ON = frozenset({"gate", "fork", "keyword_filter", "coalesce"})


def _read_by_prompts(part: Part, config: LlmConfig, reaching: frozenset[str]) -> frozenset[str]:
    names = {name: frozenset(given) for name, given in part.extra.items()}
    read: frozenset[str] = frozenset()
    for text in (part.prompt, part.system):
        if text is not None:
            template = expressions.PromptTemplate.compile(
                text, where="prompt", lookups=config.lookup, names=names
            )
            read |= reaching if template.reads_whole_row else template.reads
    return read


def _read_by_expression(text: str, reaching: frozenset[str]) -> frozenset[str]:
    expression = expressions.Expression.compile(text, where="set")
    return reaching if expression.reads_whole_row else expression.reads
