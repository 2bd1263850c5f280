"""How a search runs: exact or approximate; either way min(topK, matches) vectors come back.

HNSW walks the graph and throws away what a filter refuses, so with a filter it loses rows, and the planner prefers it
all the same.  Therefore the server chooses: filters and small tables are searched exactly, the rest through HNSW, and
whatever HNSW leaves short is searched exactly again.
"""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from pgvector import Vector
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from app.database.catalog import Index
from app.database.vector_table import (
    HALFVEC_MAX,
    MAX_VECTOR_DIMENSION,
    indexed_rows,
    metadata_columns,
    operand,
    table_of,
)
from app.shapes import DistanceMetric
from app.vector_data import Float32Vector

# A scan of 5,000 vectors of 384 dimensions takes about as long as a walk through the graph.
EXACT_UP_TO_ROWS = 5_000

# Recall@10 on real queries with ef_construction 200: 0.964 at 80, 0.983 at 160, 0.988 at 240.
MIN_EF_SEARCH = 160

FLOAT32_MAX: sa.ColumnElement[float] = sa.literal_column("3.4028234663852886e38::float8")


class Search(Struct, frozen=True):
    index: Index
    rows: int
    """As estimated; -1 when nobody has counted yet."""
    vector: Float32Vector
    top_k: int
    condition: sa.ColumnElement[bool] | None
    return_metadata: bool

    @property
    def approximate(self) -> bool:
        """A query that does not fit the operand of a partial index cannot ask it."""
        fits = self.held is None or self.norm <= HALFVEC_MAX
        return self.condition is None and self.rows > EXACT_UP_TO_ROWS and fits

    @property
    def held(self) -> sa.ColumnElement[bool] | None:
        """The predicate of a partial HNSW index; None when it holds every row."""
        return indexed_rows(table_of(self.index), self.index.dimension, self.index.distance_metric)

    @property
    def norm(self) -> float:
        return float((self.vector.astype(float) ** 2).sum() ** 0.5)

    @property
    def query(self) -> sa.ColumnElement[Any]:
        return sa.bindparam("query", Vector(self.vector), type_=NullType())


async def nearest(connection: AsyncConnection, search: Search) -> list[sa.Row[Any]]:
    """Rows of key, distance and, where asked for, metadata for `metadata_of`; ordered by distance, then key."""
    if search.approximate:
        rows = await _run_approximate(connection, search)
        if _complete(search, rows):
            return rows
    return list(await connection.execute(exact(search)))


def exact(search: Search) -> sa.Select[Any]:
    """The functions behind the operators: an index serves operators only, so the planner cannot choose HNSW here."""
    table = table_of(search.index)
    distance = _distance(table, search).label("distance")
    chosen = sa.select(*table.c, distance).order_by(distance, table.c.key).limit(search.top_k)
    if search.condition is not None:
        chosen = chosen.where(search.condition)
    return _answer(search, chosen)


def approximate(search: Search) -> sa.Select[Any]:
    """Candidates in the graph's order of the operand, then ordered by the exact float32 distance."""
    table, index = table_of(search.index), search.index
    operator = "<=>" if index.distance_metric is DistanceMetric.COSINE else "<->"
    graph_order = operand(table.c.embedding, index.dimension, index.distance_metric).op(operator)(
        operand(search.query, index.dimension, index.distance_metric)
    )
    candidates = sa.select(*table.c, _distance(table, search).label("distance")).order_by(graph_order)
    if search.held is not None:  # without its predicate the planner may not use a partial index
        candidates = candidates.where(search.held)
    lossy = index.dimension > MAX_VECTOR_DIMENSION
    found = candidates.limit(search.top_k * 2 if lossy else search.top_k).subquery("candidates")
    chosen = sa.select(found).order_by(found.c.distance, found.c.key).limit(search.top_k)
    return _answer(search, chosen)


async def _run_approximate(connection: AsyncConnection, search: Search) -> list[sa.Row[Any]]:
    ef_search = min(1_000, max(MIN_EF_SEARCH, 2 * search.top_k))
    await connection.execute(
        sa.select(
            sa.func.set_config("hnsw.ef_search", str(ef_search), sa.true()),
            sa.func.set_config("hnsw.iterative_scan", "relaxed_order", sa.true()),
        )
    )
    return list(await connection.execute(approximate(search)))


def _complete(search: Search, rows: list[sa.Row[Any]]) -> bool:
    """Enough rows, and none that the index leaves out for its size can be nearer than the last of them."""
    if len(rows) < search.top_k:
        return False
    if search.held is None:
        return True
    nearest_left_out = HALFVEC_MAX - search.norm
    return bool(rows[-1].distance < nearest_left_out**2)


def _answer(search: Search, chosen: sa.Select[Any]) -> sa.Select[Any]:
    """Text is made of the chosen rows only, behind their LIMIT; distances are float32, as AWS's are."""
    rows = chosen.subquery("nearest")
    distance = sa.cast(sa.cast(rows.c.distance, sa.REAL), sa.Double)
    columns: list[sa.ColumnElement[Any]] = [rows.c.key, distance.label("distance")]
    if search.return_metadata:
        columns += metadata_columns(rows)
    return sa.select(*columns).order_by(rows.c.distance, rows.c.key)


def _distance(table: sa.Table, search: Search) -> sa.ColumnElement[float]:
    """Finite always, since JSON has no infinity: overflowing float32 sums end at its largest number."""
    embedding, query = table.c.embedding, search.query
    if search.index.distance_metric is DistanceMetric.EUCLIDEAN:
        return sa.func.least(sa.func.vector_l2_squared_distance(embedding, query), FLOAT32_MAX)
    plain = sa.func.cosine_distance(embedding, query)
    # Norms beyond float32 give NaN; unit vectors, which PostgreSQL makes in double precision, do not.
    unit = sa.func.cosine_distance(sa.func.l2_normalize(embedding), sa.func.l2_normalize(query))
    return sa.case((plain == sa.literal_column("'NaN'::float8"), unit), else_=plain)
