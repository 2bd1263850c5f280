"""The table of the fixture `connection`, and filters that run on it."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.filters.compile import compile_filter
from app.filters.parse import parse_filter

documents = sa.table("documents", sa.column("id", sa.Integer), sa.column("metadata", JSONB))


def fill(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(sa.delete(documents))
    connection.execute(sa.insert(documents), [{"id": i, "metadata": row} for i, row in enumerate(rows)])


def selection(document: dict[str, Any]) -> sa.Select[int]:
    condition = compile_filter(parse_filter(document, ()), documents.c.metadata)
    return sa.select(documents.c.id).where(condition).order_by(documents.c.id)


def chosen(connection: sa.Connection, document: dict[str, Any]) -> list[int]:
    return list(connection.scalars(selection(document)))
