"""The example pipelines."""
