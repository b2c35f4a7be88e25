"""Tables of other people's databases: where they are, how they are opened, and what their rows come to as one hash.

Nothing here is imported before a pipeline with a table runs or is verified: SQLAlchemy is slow to import.
"""
