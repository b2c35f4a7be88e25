"""The command line: it reads the Landscape, and launches through Dagster. One module a command."""
