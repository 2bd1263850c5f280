"""The rows of `s3_vectors.vector_codes`, and the tables that they stand for.

ready -> retired -> (dropped, when no search can know them any more)
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from pgvector import Vector

from app.database.catalog import Codes, Index, vector_codes
from app.database.codes import Thresholds, add_codes, create_codes, drop_codes
from app.database.connection import Connection
from app.database.graphs import Positions
from app.database.statements import compiled

# Longer than whatever knows an index may go on searching it.
FORGOTTEN_AFTER = timedelta(minutes=15)

_C = vector_codes.c


async def begin(connection: Connection, index: Index, positions: tuple[int, int], thresholds: Thresholds) -> int:
    """In the place of those that are there, in one transaction; how many codes there are."""
    planes = [Vector(plane) for plane in thresholds]
    values = {
        "vector_index_id": index.id,
        "first_position": positions[0],
        "end_position": positions[1],
        "codes": 0,
        "codes_at_first": 0,
        "state": "ready",
    }
    async with connection.transaction_or_part():
        await retire(connection, index)
        inserted = sa.insert(vector_codes).values(
            **values, thresholds=sa.bindparam("planes", type_=sa.types.NullType())
        )
        [row] = await connection.run(compiled(inserted.returning(_C.id)), {"planes": planes})
        for statement in create_codes(index, row.id, len(planes)):
            await connection.run(statement, prepare=False)
        number = await _add(connection, index, row.id, planes, positions)
        await _set(connection, row.id, codes=number, codes_at_first=number)
    return number


async def add(connection: Connection, index: Index, codes: Codes, end: int) -> None:
    """To those that are there, in one transaction; nothing where the index has been deleted meanwhile."""
    async with connection.transaction_or_part():
        chosen = sa.select(_C.thresholds).where(_C.id == codes.id, _C.state == "ready").with_for_update()
        for row in await connection.run(compiled(chosen)):
            number = await _add(connection, index, codes.id, row.thresholds, (codes.end, end))
            await _set(connection, codes.id, codes=_C.codes + number, end_position=end)


async def _add(
    connection: Connection, index: Index, codes_id: int, planes: Sequence[Vector], positions: Positions
) -> int:
    [row] = await connection.run(add_codes(index, codes_id, planes, positions), prepare=False)
    return int(row.codes)


async def _set(connection: Connection, codes_id: int, **values: Any) -> None:
    await connection.run(compiled(sa.update(vector_codes).where(_C.id == codes_id).values(**values)))


async def retire(connection: Connection, index: Index) -> None:
    ready = _C.vector_index_id == index.id, _C.state == "ready"
    values = {"state": "retired", "retirement_time": sa.func.clock_timestamp()}
    await connection.run(compiled(sa.update(vector_codes).where(*ready).values(values)))


async def drop_forgotten(connection: Connection) -> None:
    """Those that were retired, a table and its row together; whatever is still being read is left for the next time."""
    old = _C.retirement_time < sa.func.clock_timestamp() - FORGOTTEN_AFTER
    for row in await connection.run(compiled(sa.select(_C.id, _C.vector_index_id).where(old))):
        with suppress(psycopg.errors.LockNotAvailable):
            async with connection.transaction_or_part():
                await connection.run(compiled(drop_codes(row.vector_index_id, row.id)), prepare=False)
                await connection.run(compiled(sa.delete(vector_codes).where(_C.id == row.id)))


async def forget_lost(connection: Connection) -> None:
    """People may drop a table, and must not have searches fail for it."""
    table = sa.func.to_regclass(sa.func.format("vectors.codes_%s_%s", _C.vector_index_id, _C.id))
    await connection.run(compiled(sa.delete(vector_codes).where(table.is_(None))))
