"""Run one node over the tokens that wait for it: stream, call, record, resume. Knows nothing of Dagster."""
