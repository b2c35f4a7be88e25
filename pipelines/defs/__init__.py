"""One folder a pipeline, each with a `defs.yaml`."""
