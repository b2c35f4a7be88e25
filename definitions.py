"""The code location: every pipeline under `pipelines/defs/`, with what they share: Landscape, executor, sensor."""

import sys
from pathlib import Path

import dagster as dg

# At the top: a workspace in a checkout that is not installed finds the package through this.
from elspeth_dagster import LandscapeResource, shared_definitions

PROJECT = Path(__file__).parent


@dg.definitions
def defs() -> dg.Definitions:
    """Load the components, and give them what they share."""
    if str(PROJECT) not in sys.path:  # `pipelines` is this project's own, not part of the installed package
        sys.path.insert(0, str(PROJECT))
    shared = shared_definitions(LandscapeResource(project=str(PROJECT)))
    return dg.Definitions.merge(dg.load_from_defs_folder(path_within_project=PROJECT), shared)
