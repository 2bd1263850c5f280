"""How many rows an index has, by PostgreSQL's estimate: it decides how a search runs, and may be some seconds old."""

import time

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.catalog import Index

LIFETIME_SECONDS = 10
MAX_KEPT = 50_000


class RowEstimates:
    def __init__(self) -> None:
        self._kept: dict[int, tuple[float, int]] = {}

    async def of(self, connection: AsyncConnection, index: Index) -> int:
        """-1 before the first ANALYZE."""
        known = self._kept.get(index.id)
        if known is None or known[0] < time.monotonic():
            known = time.monotonic() + LIFETIME_SECONDS, await estimate(connection, index)
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[index.id] = known
        return known[1]


async def estimate(connection: AsyncConnection, index: Index) -> int:
    """Of a table that has just been dropped, -1 as well: the search will say so."""
    pg_class = sa.table("pg_class", sa.column("oid"), sa.column("reltuples"), schema="pg_catalog")
    statement = sa.select(sa.cast(pg_class.c.reltuples, sa.BigInteger))
    statement = statement.where(pg_class.c.oid == sa.func.to_regclass(f"vectors.index_{index.id}"))
    rows: int | None = (await connection.execute(statement)).scalar_one_or_none()
    return -1 if rows is None else rows
