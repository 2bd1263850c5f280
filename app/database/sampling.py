"""Stored vectors that stand for queries: any number of them, drawn at random, and the same for the same seed."""

import random

import sqlalchemy as sa
from pgvector import Vector

from app.database.catalog import Index
from app.database.connection import Connection
from app.database.statements import Statement, compiled
from app.database.vector_table import hash_of, table_of


async def sample(connection: Connection, index: Index, number: int, seed: int) -> dict[str, Vector]:
    """By key; fewer where fewer are stored.

    Keys stand in a random order in the index of their hashes, so that those behind any place are a sample.
    """
    start = random.Random(seed).getrandbits(64) - 2**63  # noqa: S311 - no secret
    rows = await connection.run(_in_order_of_hashes(index, number, start))
    if len(rows) < number:
        rows += await connection.run(_in_order_of_hashes(index, number - len(rows), None, start))
    return {row.key: row.embedding for row in rows}


def _in_order_of_hashes(index: Index, number: int, first: int | None, end: int | None = None) -> Statement:
    table = table_of(index)
    place = hash_of(table)
    rows = sa.select(table.c.key, table.c.embedding).order_by(place, table.c.key).limit(number)
    if first is not None:
        rows = rows.where(place >= first)
    if end is not None:
        rows = rows.where(place < end)
    return compiled(rows)
