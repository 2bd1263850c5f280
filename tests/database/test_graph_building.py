import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import psycopg
import pytest
from pgvector import Vector

from app.database import graph_catalog, graph_growth
from app.database.advisory_locks import has_lock
from app.database.catalog import Index
from app.database.connection import Connection
from app.database.engine import Database
from app.database.generation import Generations
from app.database.graph_building import LOCK, GraphBuilding, build, builder_connection, survey, take
from app.database.graph_growth import Absorb, Build, Forget
from app.database.graphs import FINAL_EF_CONSTRUCTION
from app.database.nearest import Search, nearest
from app.database.range_indexes import RangeUse
from app.database.selectivity import Selectivity
from app.database.vector_table import StoredVector, delete, upsert
from tests.database.conftest import Library, Rows

DIMENSION = 8
VECTORS = np.random.default_rng(3).normal(size=(400, DIMENSION)).astype(np.float32)
EVERYTHING = Build(0, 10_000, FINAL_EF_CONSTRUCTION)


@pytest.fixture
async def index(library: Library) -> Index:
    return await library.create_index(DIMENSION)


@pytest.fixture
async def builder(database: Database) -> AsyncIterator[Connection]:
    async with await builder_connection(database.url) as connection:
        yield connection


@pytest.fixture
async def round_(builder: Connection, database: Database) -> Callable[[], Awaitable[bool]]:
    building = GraphBuilding(database.url, "us-east-1", RangeUse())
    return lambda: building.round(builder)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """From so many vectors on, an index gets a graph."""
    for name in ("MIN_EXACT_VECTORS", "MAX_EXACT_VECTORS"):
        monkeypatch.setattr(graph_growth, name, 50)
    return 50


async def put(database: Database, index: Index, numbers: range, vectors: Any = VECTORS) -> None:
    records = [StoredVector(f"k{i:03}", Vector(vectors[i]), "{}", "{}") for i in numbers]
    async with database.connection() as connection:
        await upsert(connection, index, records)


async def found(database: Database, index: Index, query: Any, top_k: int = 10) -> list[str]:
    search = Search(index, Vector(query), top_k, None, return_metadata=False, recall_target=0.98)
    async with database.connection() as connection:
        return [row.key for row in await nearest(connection, search, Selectivity())]


async def finds_each(database: Database, index: Index, numbers: range, vectors: Any = VECTORS) -> bool:
    return all([await found(database, index, vectors[i], 1) == [f"k{i:03}"] for i in numbers])


@asynccontextmanager
async def held_up(database: Database, work: Awaitable[Any]) -> AsyncIterator["asyncio.Future[Any]"]:
    """The work while it waits for a transaction that is older than it, as every build does."""
    async with await psycopg.AsyncConnection.connect(database.url) as old:
        await old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await old.execute("SELECT 1 FROM s3_vectors.vector_buckets")
        running = asyncio.ensure_future(work)
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as watch:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX C%' AND wait_event_type = 'Lock'"
            async with asyncio.timeout(30):
                while await (await watch.execute(waiting)).fetchone() is None:  # noqa: ASYNC110 - PostgreSQL has no event
                    await asyncio.sleep(0.01)
        yield running
        await old.rollback()


def graphs(rows: Rows) -> list[Any]:
    return rows("SELECT state, first_position, end_position, attempts, error FROM s3_vectors.hnsw_graphs ORDER BY id")


def hnsw(rows: Rows) -> list[Any]:
    name = "indexrelid::regclass::text"
    return rows(f"SELECT {name}, indisvalid FROM pg_index WHERE {name} LIKE 'vectors.hnsw%'")


async def test_a_table_that_outgrows_exact_search_gets_a_graph(
    library: Library, database: Database, index: Index, few: int, round_: Callable[[], Awaitable[bool]], rows: Rows
) -> None:
    await put(database, index, range(few))
    assert await round_() is False
    await put(database, index, range(few, 120))
    assert await round_() is True
    assert graphs(rows) == [("ready", 0, 121, 1, None)]
    index = await library.find_index(index.arn)
    assert [(graph.first, graph.end, graph.vectors) for graph in index.graphs] == [(0, 121, 120)]
    assert await finds_each(database, index, range(120))


async def test_what_was_written_after_a_look_began_is_left_to_the_next(
    database: Database, index: Index, builder: Connection
) -> None:
    await put(database, index, range(20))
    last = (await graph_catalog.last_positions(builder))[index.id]
    await put(database, index, range(20, 120))
    looked_at = await survey(builder, index, last, 0)
    assert (looked_at.tail, looked_at.end) == (20, 21)


async def test_a_graph_that_is_ready_counts_for_the_next_request(
    database: Database, index: Index, builder: Connection
) -> None:
    generations = Generations(database.url)
    before = await generations.ask()
    await build(builder, index, EVERYTHING)
    after = await generations.ask()
    await generations.close()
    assert (after.access, after.indexes > before.indexes) == (before.access, True)


async def test_what_is_written_while_a_graph_is_built_is_found_at_once_and_after(
    library: Library, database: Database, index: Index, builder: Connection
) -> None:
    await put(database, index, range(100))
    swapped = np.concatenate([VECTORS[300:], VECTORS[100:]])
    async with held_up(database, build(builder, index, Build(0, 101, FINAL_EF_CONSTRUCTION))) as building:
        await put(database, index, range(20), swapped)
        await put(database, index, range(100, 120))
        async with database.connection() as connection:
            await delete(connection, index, ["k050"])
        assert await finds_each(database, index, range(20), swapped)
        assert not building.done()
    await building
    for known in (index, await library.find_index(index.arn)):  # a server may not know of the graph yet
        assert await finds_each(database, known, range(20), swapped)
        assert await finds_each(database, known, range(100, 120))
        assert "k050" not in await found(database, known, VECTORS[50], 119)
        assert len(await found(database, known, VECTORS[50], 200)) == 119


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_build_that_fails_leaves_its_reason_and_no_trace_else(
    database: Database, index: Index, builder: Connection, rows: Rows, attempts: int
) -> None:
    await put(database, index, range(60))
    for _ in range(attempts):
        async with held_up(database, build(builder, index, EVERYTHING)) as building:
            rows("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgs3vectors-builder'")
            await building
    assert graphs(rows) == [("failed", 0, 10_000, attempts, "57014: canceling statement due to user request")]
    assert hnsw(rows) == []
    wait = (
        f"extract(epoch FROM retry_time - now()) BETWEEN {10 * 2 ** (attempts - 1) - 10} AND {10 * 2 ** (attempts - 1)}"
    )
    assert rows(f"SELECT {wait} FROM s3_vectors.hnsw_graphs") == [(True,)]
    assert await finds_each(database, index, range(60))


async def test_what_failed_is_tried_again_when_its_time_has_come(
    database: Database, index: Index, few: int, round_: Callable[[], Awaitable[bool]], builder: Connection, rows: Rows
) -> None:
    await put(database, index, range(few + 1))
    graph = await graph_catalog.begin(builder, index, EVERYTHING, few + 1)
    await graph_catalog.fail(builder, graph.id, "53100: no space left on device")
    assert await round_() is False
    await builder.execute("UPDATE s3_vectors.hnsw_graphs SET retry_time = now()")
    assert await round_() is True
    assert graphs(rows) == [("ready", 0, few + 2, 2, None)]


async def test_a_killed_build_is_cleaned_up_by_the_next_builder(
    database: Database, index: Index, builder: Connection, rows: Rows
) -> None:
    await put(database, index, range(60))
    with suppress(psycopg.OperationalError):
        async with held_up(database, build(builder, index, EVERYTHING)) as building:
            rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgs3vectors-builder'"
            )
            await building
    assert [row[0] for row in graphs(rows)] == ["building"]
    assert [valid for _, valid in hnsw(rows)] == [False]
    assert await finds_each(database, index, range(60))
    async with await builder_connection(database.url) as successor:
        await graph_catalog.recover(successor)
    assert graphs(rows) == [("failed", 0, 10_000, 1, "The build was interrupted.")]
    assert hnsw(rows) == []


async def test_a_graph_that_somebody_dropped_is_missed(
    library: Library, database: Database, index: Index, builder: Connection, rows: Rows
) -> None:
    await put(database, index, range(60))
    index = await library.build_graph(index)
    async with database.connection() as connection:
        await connection.execute(f"DROP INDEX vectors.hnsw_{index.id}_{index.graphs[0].id}".encode())
    assert await finds_each(database, index, range(60))
    await graph_catalog.recover(builder)
    await graph_catalog.drop_retired(builder)
    assert graphs(rows) == []


async def test_one_builder_works_at_a_time(database: Database, builder: Connection) -> None:
    assert await has_lock(builder, LOCK)
    async with await builder_connection(database.url) as other:
        assert not await has_lock(other, LOCK)
        await builder.close()
        async with asyncio.timeout(10):
            while not await has_lock(other, LOCK):  # noqa: ASYNC110 - until PostgreSQL has noticed
                await asyncio.sleep(0.01)


async def test_the_tail_is_absorbed_by_the_last_graph(
    library: Library, database: Database, index: Index, builder: Connection, rows: Rows
) -> None:
    await put(database, index, range(100))
    index = await library.build_graph(index)
    await put(database, index, range(50, 150))
    await take(builder, index, Absorb())
    assert rows(f"SELECT count(*) FROM vectors.index_{index.id} WHERE position >= {index.graphs[0].end}") == [(0,)]
    assert await finds_each(database, index, range(150))


async def test_what_a_writer_holds_is_not_absorbed_now(
    library: Library, database: Database, index: Index, builder: Connection, rows: Rows
) -> None:
    await put(database, index, range(10))
    index = await library.build_graph(index)
    await put(database, index, range(10, 20))
    async with database.connection() as writer, writer.transaction():
        await writer.execute(f"SELECT 1 FROM vectors.index_{index.id} WHERE key = 'k015' FOR UPDATE".encode())
        await take(builder, index, Absorb())
        assert rows(f"SELECT key FROM vectors.index_{index.id} WHERE position >= {index.graphs[0].end}") == [("k015",)]


async def test_new_graphs_replace_those_in_their_range(
    library: Library, database: Database, index: Index, builder: Connection, rows: Rows
) -> None:
    await put(database, index, range(300))
    await library.build_graph(index, 0, 101)
    await library.build_graph(index, 101, 201)
    index = await library.build_graph(index, 101, 301)
    assert [(graph.first, graph.end) for graph in index.graphs] == [(0, 101), (101, 301)]
    await graph_catalog.drop_retired(builder)
    assert [row[:3] for row in graphs(rows)] == [("ready", 0, 101), ("ready", 101, 301)]
    assert len(hnsw(rows)) == 2
    assert await finds_each(database, index, range(300))


async def test_an_index_that_has_become_small_forgets_its_graph(
    library: Library, database: Database, index: Index, builder: Connection, rows: Rows
) -> None:
    await put(database, index, range(60))
    index = await library.build_graph(index)
    await take(builder, index, Forget())
    await graph_catalog.drop_retired(builder)
    assert (graphs(rows), hnsw(rows)) == ([], [])
    assert await finds_each(database, await library.find_index(index.arn), range(60))


async def test_an_index_that_is_deleted_meanwhile_stops_nobody(
    database: Database, index: Index, round_: Callable[[], Awaitable[bool]], builder: Connection
) -> None:
    await put(database, index, range(60))
    await builder.execute(f"DROP TABLE vectors.index_{index.id} CASCADE".encode())
    assert await round_() is False


async def test_an_index_that_cannot_be_looked_at_keeps_no_other_from_its_graph(
    library: Library,
    database: Database,
    index: Index,
    few: int,
    round_: Callable[[], Awaitable[bool]],
    builder: Connection,
) -> None:
    other = await library.create_index(DIMENSION, name="series")
    for one in (index, other):
        await put(database, one, range(few + 1))
    await builder.execute(f"ALTER TABLE vectors.index_{index.id} ALTER COLUMN position DROP IDENTITY".encode())
    await builder.execute(f"ALTER TABLE vectors.index_{index.id} RENAME COLUMN position TO lost".encode())
    assert await round_() is True
    assert [graph.vectors for graph in (await library.find_index(other.arn)).graphs] == [few + 1]


async def test_the_task_builds_by_itself_until_it_is_cancelled(
    database: Database, index: Index, few: int, rows: Rows
) -> None:
    await put(database, index, range(few + 1))
    running = asyncio.create_task(GraphBuilding(database.url, "us-east-1", RangeUse()).run())
    async with asyncio.timeout(30):
        while [row[0] for row in graphs(rows)] != ["ready"]:  # noqa: ASYNC110 - a task of its own
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
