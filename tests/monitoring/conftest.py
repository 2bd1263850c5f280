"""Databases and indexes as those who test the database make them."""

from tests.database.conftest import database, library

__all__ = ["database", "library"]
