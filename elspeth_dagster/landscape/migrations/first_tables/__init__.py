"""The tables as the first migration makes them. Frozen: what changes them is another migration."""
