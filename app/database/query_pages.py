"""Queries for more than a page: ranked once, and read page by page.

Where a vector stands, and at which distance, is as of the ranking.  That it is there, that it matches the filter, and
its metadata are as of the page: what was deleted meanwhile is left out, and a page may hold fewer vectors, or none.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import NullType

from app.database import hybrid_search, rankings
from app.database.connection import Connection
from app.database.filter_conditions import FILTER, Use, conditions_of, filtered
from app.database.hybrid_search import HybridSearch
from app.database.nearest import Search, nearest
from app.database.rankings import Cursor, Ranking
from app.database.selectivity import Selectivity
from app.database.statements import Statement, compiled
from app.database.vector_table import metadata_columns, table_of

Asked = Search | HybridSearch


class Found(NamedTuple):
    """A row without metadata."""

    key: str
    distance: float | None
    place: int


class Page(Struct, frozen=True):
    """Rows as `nearest` gives them; of a ranking, with the `place` of each in it."""

    rows: list[Any]
    next: Cursor | None = None
    ranking: Ranking | None = None


async def first_page(connection: Connection, search: Asked, user_id: str, selectivity: Selectivity) -> Page:
    """The others are kept where there are others."""
    ranking = await _ranked(connection, search, selectivity)
    pages = list(ranking.pages())
    if len(pages) < 2:
        return Page(await _first_rows(connection, search, ranking), None, ranking)
    cursor = await rankings.store(connection, search.index, user_id, pages)
    return Page(await _first_rows(connection, search, pages[0]), cursor.next, pages[0])


async def next_page(connection: Connection, search: Asked, cursor: Cursor) -> Page:
    page = await rankings.find_page(connection, cursor)
    return Page(await _rows(connection, search, page), cursor.next, page)


async def _ranked(connection: Connection, search: Asked, selectivity: Selectivity) -> Ranking:
    """Found without metadata, of which only a page is read."""
    if isinstance(search, HybridSearch):
        return await hybrid_search.rank(connection, search, selectivity)
    rows = await nearest(connection, replace(search, return_metadata=False), selectivity)
    return Ranking([row.key for row in rows], [row.distance for row in rows])


async def _first_rows(connection: Connection, search: Asked, page: Ranking) -> list[Any]:
    """Just found: only their metadata are still to be read."""
    if search.return_metadata:
        return await _rows(connection, search, page)
    return [
        Found(key, distance, place)
        for place, (key, distance) in enumerate(zip(page.keys, page.distances, strict=True), 1)
    ]


async def _rows(connection: Connection, search: Asked, page: Ranking) -> list[Any]:
    table = table_of(search.index)
    statement = _statement(table, return_metadata=search.return_metadata, is_filtered=search.filter is not None)
    if search.filter is not None:
        statement = filtered(statement, conditions_of(search.index, search.filter, Use.ROW_BY_ROW))
    values = {"keys": page.keys, "distances": page.distances}
    return await connection.run(statement, values, prepare=search.filter is None)


@lru_cache(maxsize=1024)
def _statement(table: sa.Table, *, return_metadata: bool, is_filtered: bool) -> Statement:
    """At most a page of look-ups by key, whatever the filter."""
    ranked = (
        sa.func.unnest(_array("keys", sa.Text()), _array("distances", sa.Double()))
        .table_valued("key", "distance", with_ordinality="place")
        .render_derived(name="ranked")
    )
    columns: list[sa.ColumnElement[Any]] = [table.c.key, ranked.c.distance, ranked.c.place]
    if return_metadata:
        columns += metadata_columns(table)
    rows = sa.select(*columns).join_from(ranked, table, table.c.key == ranked.c.key).order_by(ranked.c.place)
    return compiled(rows.where(FILTER) if is_filtered else rows)


def _array(name: str, element: Any) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(name, type_=NullType()), ARRAY(element))
