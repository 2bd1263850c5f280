"""Pages of ListVectors: stable under concurrent writes, and cut into segments that together hold every vector once.

Vectors are walked in the order of (hashtextextended(key, 0), key).  A key never changes its place, so a cursor stays
right whatever is written or deleted around it, and a segment is a range of hashes.
"""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from app.database.catalog import Index
from app.database.connection import Connection
from app.database.statements import compiled
from app.database.vector_table import Returned, data_text, hash_of, metadata_bytes, metadata_columns, table_of
from app.limits import MAX_LIST_VECTORS_PAGE_BYTES


class Cursor(Struct, frozen=True, array_like=True):
    """The last vector of the page before."""

    hash: int
    key: str


class Segment(Struct, frozen=True):
    index: int = 0
    count: int = 1

    @property
    def first_hash(self) -> int:
        return -(2**63) + 2**64 * self.index // self.count

    @property
    def last_hash(self) -> int:
        return -(2**63) + 2**64 * (self.index + 1) // self.count - 1


class PageRequest(Struct, frozen=True):
    segment: Segment
    after: Cursor | None
    limit: int
    returned: Returned


class Page(Struct, frozen=True):
    """Rows for `output_vector`."""

    rows: list[Any]
    next: Cursor | None


async def list_vectors(connection: Connection, index: Index, request: PageRequest) -> Page:
    """At most `limit` vectors, and none after the one that reaches 1 MB."""
    rows = await connection.run(compiled(_statement(table_of(index), request)), prepare=False)
    page = [row for row in rows[: request.limit] if row.bytes_before < MAX_LIST_VECTORS_PAGE_BYTES]
    more = len(rows) > len(page)
    return Page(page, Cursor(page[-1].hash, page[-1].key) if more else None)


def _statement(table: sa.Table, request: PageRequest) -> sa.Select[Any]:
    """One row more than asked for tells whether another page follows."""
    hash_, key = hash_of(table), table.c.key
    segment, after, returned = request.segment, request.after, request.returned
    # A comparison of rows is one range of the index segment_<id>; two comparisons joined by OR would filter it all.
    start = (
        sa.tuple_(hash_, key) > sa.tuple_(sa.literal(after.hash, sa.BigInteger), after.key)
        if after
        else hash_ >= segment.first_hash
    )
    chosen = (
        sa.select(hash_.label("hash"), *table.c, _bytes_before(table, returned))
        .where(start, hash_ <= segment.last_hash)
        .order_by(hash_, key)
        .limit(request.limit + 1)
        .subquery("chosen")
    )
    # Text is made of what goes out only.
    fits = chosen.c.bytes_before < MAX_LIST_VECTORS_PAGE_BYTES
    columns: list[sa.ColumnElement[Any]] = [chosen.c.hash, chosen.c.key, chosen.c.bytes_before]
    if returned.data:
        columns.append(sa.case((fits, data_text(chosen))).label("data"))
    if returned.metadata:
        columns += metadata_columns(chosen, only_where=fits)
    return sa.select(*columns).order_by(chosen.c.hash, chosen.c.key)


def _bytes_before(table: sa.Table, returned: Returned) -> sa.ColumnElement[int]:
    size: sa.ColumnElement[int] = sa.func.octet_length(table.c.key)
    if returned.data:
        size += sa.func.vector_dims(table.c.embedding) * 4
    if returned.metadata:
        size += metadata_bytes(table)
    before = sa.func.sum(size).over(order_by=[hash_of(table), table.c.key], rows=(None, -1))
    return sa.func.coalesce(before, 0).label("bytes_before")
