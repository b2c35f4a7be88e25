"""Everything that Dagster sees: assets, checks, metadata, resources, the component. The only layer that imports it."""
