"""The rows of `s3_vectors.hnsw_graphs`: what is being built, what is ready, what is to go, and what failed and why.

    building -> ready -> retired -> (dropped)
    building -> failed -> (forgotten when it is tried again)

What is of one statement is done wholly or not at all: connections of builders commit each.
"""

from typing import Any

import sqlalchemy as sa

from app.database.build_failures import INTERRUPTED, retry_time
from app.database.catalog import Graph, Index, hnsw_graphs, vector_indexes
from app.database.concurrent_indexes import drop_index, is_valid
from app.database.connection import Connection
from app.database.graph_growth import Build
from app.database.graphs import graph_name
from app.database.statements import compiled

_C = hnsw_graphs.c


async def last_positions(connection: Connection) -> dict[int, int]:
    """The last position given in each index, by the id of the index; an index without vectors has none."""
    sequence = sa.func.to_regclass(sa.func.format("vectors.index_%s_position_seq", vector_indexes.c.id))
    last = sa.func.pg_sequence_last_value(sequence).label("last")
    statement = sa.select(vector_indexes.c.id, last).where(vector_indexes.c.deletion_time.is_(None))
    rows = await connection.run(compiled(statement))
    return {row.id: row.last for row in rows if row.last is not None}


async def begin(connection: Connection, index: Index, build: Build, vectors: int) -> Graph:
    """The row of a graph that is being built over so many; what failed before counts, and is forgotten."""
    failed = sa.delete(hnsw_graphs).where(_C.vector_index_id == index.id, _C.state == "failed").returning(_C.attempts)
    attempts = 1 + max((row.attempts for row in await connection.run(compiled(failed))), default=0)
    values = {
        "vector_index_id": index.id,
        "first_position": build.first,
        "end_position": build.end,
        "ef_construction": build.ef_construction,
        "state": "building",
        "vectors": vectors,
        "attempts": attempts,
    }
    [row] = await connection.run(compiled(sa.insert(hnsw_graphs).values(values).returning(_C.id)))
    return Graph(row.id, build.first, build.end, build.ef_construction, vectors)


async def complete(connection: Connection, index: Index, graph: Graph) -> None:
    """From the next search on: the graph in the place of those that it replaces, in one statement."""
    replaced = sa.and_(_C.state == "ready", _C.first_position >= graph.first)
    statement = (
        sa.update(hnsw_graphs)
        .where(_C.vector_index_id == index.id, sa.or_(_C.id == graph.id, replaced))
        .values(
            state=sa.case((_C.id == graph.id, "ready"), else_="retired"),
            completion_time=sa.case((_C.id == graph.id, sa.func.clock_timestamp()), else_=_C.completion_time),
        )
    )
    await connection.run(compiled(statement))


async def fail(connection: Connection, graph_id: int, reason: str) -> None:
    failed = {"state": "failed", "error": reason, "retry_time": retry_time(_C.attempts)}
    await connection.run(compiled(sa.update(hnsw_graphs).where(_C.id == graph_id).values(failed)))


async def waiting_for_retry(connection: Connection) -> set[int]:
    """The ids of the indexes whose build has failed, and whose time has not come."""
    later = _C.state == "failed", _C.retry_time > sa.func.clock_timestamp()
    return {row[0] for row in await connection.run(compiled(sa.select(_C.vector_index_id).where(*later)))}


async def retire(connection: Connection, index: Index) -> None:
    ready = sa.update(hnsw_graphs).where(_C.vector_index_id == index.id, _C.state == "ready").values(state="retired")
    await connection.run(compiled(ready))


async def drop_retired(connection: Connection) -> None:
    for row in await _graphs(connection, "retired"):
        await drop(connection, row.vector_index_id, row.id)
        await connection.run(compiled(sa.delete(hnsw_graphs).where(_C.id == row.id)))


async def recover(connection: Connection) -> None:
    """What an earlier builder left in the middle, or somebody else has dropped or broken."""
    for row in await _graphs(connection, "building"):
        await drop(connection, row.vector_index_id, row.id)
        await fail(connection, row.id, INTERRUPTED)
    name = sa.func.format("hnsw_%s_%s", _C.vector_index_id, _C.id)
    lost = sa.update(hnsw_graphs).where(_C.state == "ready", ~is_valid(name)).values(state="retired")
    await connection.run(compiled(lost))


async def drop(connection: Connection, index_id: int, graph_id: int) -> None:
    await connection.run(drop_index(graph_name(index_id, graph_id)), prepare=False)


async def _graphs(connection: Connection, state: str) -> list[Any]:
    return await connection.run(compiled(sa.select(_C.id, _C.vector_index_id).where(_C.state == state)))
