"""One file a kind of node: its configuration, what is wrong with it, and what it decides about a row.

Deciding is pure over a row; streaming, calling, recording and resuming are the runtime's.
"""
