"""Alembic migrations of the Landscape."""
