"""How full-text indexes stand: what they hold, and how far a backfill has come."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from app.database.catalog import text_search_configurations, text_statistics
from app.database.connection import Connection
from app.database.statements import compiled

_TABLES = "text", "postings"


class TextSearchStatus(Struct, frozen=True):
    metadata_key: str
    language: str | None
    state: str
    documents: int
    bytes: int
    built_up_to: str | None
    """The key of the last vector that a backfill has come to."""
    attempts: int
    retry_time: datetime | None
    error: str | None


async def text_searches_of(connection: Connection, index_ids: Sequence[int]) -> dict[int, list[TextSearchStatus]]:
    """By index; without those that are deleted."""
    found: dict[int, list[TextSearchStatus]] = {}
    for row in await connection.run(compiled(_status(list(index_ids)))):
        status = TextSearchStatus(**{name: getattr(row, name) for name in TextSearchStatus.__struct_fields__})
        found.setdefault(row.vector_index_id, []).append(status)
    return found


def _status(index_ids: list[int]) -> sa.Select[Any]:
    c, counted = text_search_configurations.c, text_statistics.c
    documents = sa.select(sa.func.coalesce(sa.cast(sa.func.sum(counted.documents), sa.BigInteger), 0)).where(
        counted.text_search_configuration_id == c.id
    )
    return (
        sa.select(text_search_configurations)
        .add_columns(documents.scalar_subquery().label("documents"), text_bytes().label("bytes"))
        .where(c.vector_index_id == sa.any_(sa.literal(index_ids, ARRAY(sa.BigInteger))), c.state != "deleted")
        .order_by(c.vector_index_id, c.id)
    )


def text_bytes() -> sa.ColumnElement[int]:
    """Of documents and postings, with their indexes; 0 of tables that are gone."""
    configuration_id = text_search_configurations.c.id
    tables = [sa.func.to_regclass(sa.func.format(f"vectors.{name}_%s", configuration_id)) for name in _TABLES]
    documents, postings = (sa.func.coalesce(sa.func.pg_total_relation_size(table), 0) for table in tables)
    return documents + postings
