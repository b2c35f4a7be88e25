"""From a declaration in YAML or Python to a checked graph."""

from elspeth_dagster.pipeline.graph import Node, Pipeline, Port
from elspeth_dagster.pipeline.load import load_pipeline, pipeline_from

__all__ = ["Node", "Pipeline", "Port", "load_pipeline", "pipeline_from"]
