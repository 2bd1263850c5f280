"""HNSW graphs: partial indexes over ranges of positions, so that nothing that is written later has to enter them.

    CREATE INDEX CONCURRENTLY hnsw_42_7 ON vectors.index_42
        USING hnsw ((l2_normalize(embedding)::halfvec(384)) halfvec_cosine_ops)
        WITH (m = 16, ef_construction = 400) WHERE position >= 0 AND position < 63667;

What lies behind the last graph, or in a gap between two, is searched exactly.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.schema import CreateIndex

from app.database.catalog import Graph, Index
from app.database.connection import Connection
from app.database.statements import Statement, compiled
from app.database.vector_table import table_of
from app.shapes import DistanceMetric

# pgvector indexes up to 4,000 dimensions of halfvec; the API allows 4,096.
MAX_HALFVEC_DIMENSION = 4_000
HALFVEC_MAX = 65_504

HNSW_M = 16
FINAL_EF_CONSTRUCTION = 400
# Of a graph that will soon be part of a greater one: four times as fast to build.
DRAFT_EF_CONSTRUCTION = 64

Position = int | sa.ColumnElement[int]
Positions = tuple[Position, Position | None]
"""From the first up to, not including, the second; None is without end."""


def graph_name(index_id: int, graph_id: int) -> str:
    return f"hnsw_{index_id}_{graph_id}"


def graph_bytes(vectors: int, dimension: int) -> int:
    """Of memory, while it is built: each vector, its neighbours on the lowest layer, and a quarter for the rest."""
    return vectors * (2 * dimension + 1_000) * 5 // 4


def is_draft(graph: Graph) -> bool:
    return graph.ef_construction < FINAL_EF_CONSTRUCTION


def gaps(graphs: Sequence[Graph]) -> list[Positions]:
    """Before graphs, which are in the order of their positions."""
    found: list[Positions] = []
    position = 0
    for graph in graphs:
        if graph.first > position:
            found.append((position, graph.first))
        position = graph.end
    return found


def end_of(graphs: Sequence[Graph]) -> int:
    """Where the tail begins."""
    return graphs[-1].end if graphs else 0


def uncovered(graphs: Sequence[Graph]) -> list[Positions]:
    return [*gaps(graphs), (end_of(graphs), None)]


def within(table: sa.Table, positions: Positions) -> sa.ColumnElement[bool]:
    """Numbers become literals: only constants let the planner prove that a partial index holds what is asked for.

    What no index has to hold may be parameters.
    """
    first, end = positions
    lower = table.c.position >= _literal(first)
    return lower if end is None else sa.and_(lower, table.c.position < _literal(end))


def _literal(position: Position) -> sa.ColumnElement[int]:
    return sa.literal_column(str(position)) if isinstance(position, int) else position


def held(table: sa.Table, metric: DistanceMetric) -> sa.ColumnElement[bool] | None:
    """Beside positions: euclidean halfvec leaves out what might not fit; None is nothing."""
    if metric is DistanceMetric.COSINE:
        return None
    return sa.func.vector_norm(table.c.embedding) <= sa.literal_column(str(HALFVEC_MAX))


def operand(embedding: Any, dimension: int, metric: DistanceMetric) -> sa.ColumnElement[Any]:
    """What HNSW sees of an embedding, the same for a column and for a query.

    halfvec ends at 65,504 and begins at 6e-8: the cosine is the same for unit vectors, which always fit.
    """
    if metric is DistanceMetric.COSINE:
        embedding = sa.func.l2_normalize(embedding)
    if dimension > MAX_HALFVEC_DIMENSION:
        # Text, because sa.Index takes the first literal column for the one whose table it belongs to.
        first, length = sa.text("1"), sa.text(str(MAX_HALFVEC_DIMENSION))
        embedding = sa.func.subvector(embedding, first, length)
    return sa.cast(embedding, HALFVEC(min(dimension, MAX_HALFVEC_DIMENSION)))


def create_graph(index: Index, graph: Graph) -> Statement:
    """Runs outside of a transaction, for as long as it takes, beside reads and writes."""
    table, metric = table_of(index).to_metadata(sa.MetaData()), index.distance_metric
    rows, fitting = within(table, (graph.first, graph.end)), held(table, metric)
    created = sa.Index(
        graph_name(index.id, graph.id),
        operand(table.c.embedding, index.dimension, metric).label("operand"),
        postgresql_using="hnsw",
        postgresql_ops={"operand": f"halfvec_{'cosine' if metric is DistanceMetric.COSINE else 'l2'}_ops"},
        postgresql_with={"m": HNSW_M, "ef_construction": graph.ef_construction},
        postgresql_where=rows if fitting is None else sa.and_(rows, fitting),
        postgresql_concurrently=True,
    )
    return compiled(CreateIndex(created))


def absorb(index: Index, graph: Graph, limit: int) -> Statement:
    """Moves the oldest vectors of the tail into the last graph: to a position that it covers.

    Costs what HNSW asks for an insert, which no client waits for.  Rows that a write holds are left for the next time.
    """
    table = table_of(index)
    tail = within(table, (graph.end, None))
    chosen = (
        sa.select(table.c.key).where(tail).order_by(table.c.position).limit(sa.literal_column(str(limit)))
    ).with_for_update(skip_locked=True, key_share=True)
    moved = sa.update(table).values(position=sa.literal_column(str(graph.end - 1)))
    return compiled(moved.where(table.c.key.in_(chosen.scalar_subquery())))


async def count_vectors(connection: Connection, index: Index, positions: Positions) -> int:
    table = table_of(index)
    counted = sa.select(sa.func.count()).select_from(table).where(within(table, positions))
    [(vectors,)] = await connection.run(compiled(counted))
    return int(vectors)
