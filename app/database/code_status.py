"""How codes stand: which vectors have some, and the space that they take."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from app.database.catalog import vector_codes
from app.database.connection import Connection
from app.database.statements import compiled


class CodesStatus(Struct, frozen=True):
    id: int
    first_position: int
    end_position: int
    codes: int
    planes: int
    state: str
    bytes: int
    creation_time: datetime
    retirement_time: datetime | None


async def codes_of(connection: Connection, index_ids: Sequence[int]) -> dict[int, list[CodesStatus]]:
    """By index; with those that are retired and still to be dropped."""
    c = vector_codes.c
    planes = sa.func.cardinality(c.thresholds).label("planes")
    chosen = sa.select(vector_codes).add_columns(planes, code_bytes().label("bytes"))
    chosen = chosen.where(c.vector_index_id == sa.any_(sa.literal(list(index_ids), ARRAY(sa.BigInteger))))
    found: dict[int, list[CodesStatus]] = {}
    for row in await connection.run(compiled(chosen.order_by(c.vector_index_id, c.id))):
        status = CodesStatus(**{name: getattr(row, name) for name in CodesStatus.__struct_fields__})
        found.setdefault(row.vector_index_id, []).append(status)
    return found


def code_bytes() -> sa.ColumnElement[int]:
    """0 of a table that is gone."""
    table = sa.func.format("vectors.codes_%s_%s", vector_codes.c.vector_index_id, vector_codes.c.id)
    return sa.func.coalesce(sa.func.pg_total_relation_size(sa.func.to_regclass(table)), 0)
