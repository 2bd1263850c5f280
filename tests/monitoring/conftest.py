"""Databases and indexes as those who test the database make them."""

from tests.database.conftest import database, library, rows
from tests.database.test_text_backfill import backfill

__all__ = ["backfill", "database", "library", "rows"]
