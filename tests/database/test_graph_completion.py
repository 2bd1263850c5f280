import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from app.database.bulk_load import claim, claimed, claimed_as, loading_connection
from app.database.catalog import Index
from app.database.connection import Connection
from app.database.engine import Database
from app.database.graph_building import GraphBuilding, builder_connection
from app.database.graph_completion import complete_graphs
from app.database.graphs import DRAFT_EF_CONSTRUCTION, FINAL_EF_CONSTRUCTION
from app.database.index_status import IndexStatus
from app.database.range_indexes import RangeUse
from app.errors import NotFoundException
from tests.database.conftest import Library, Rows
from tests.database.test_graph_building import DIMENSION, few, finds_each, graphs, held_up, put  # noqa: F401 - a fixture

BUILT = [("ready", 0, 121, 1, None)]


@pytest.fixture
async def index(library: Library) -> Index:
    return await library.create_index(DIMENSION)


@pytest.fixture
async def loader(database: Database) -> AsyncIterator[Connection]:
    async with await loading_connection(database.url) as connection:
        yield connection


@pytest.fixture
async def server(database: Database) -> AsyncIterator[None]:
    """What builds in the background of one."""
    building = asyncio.create_task(GraphBuilding(database.url, "us-east-1", RangeUse()).run())
    yield
    building.cancel()
    with suppress(asyncio.CancelledError):
        await building


async def completed(database: Database, index: Index) -> IndexStatus:
    async with asyncio.timeout(60):
        return await complete_graphs(database, index, lambda _: None)


@pytest.mark.usefixtures("few")
async def test_without_a_server_the_graph_is_built_here(database: Database, index: Index, rows: Rows) -> None:
    await put(database, index, range(120))
    status = await completed(database, index)
    assert graphs(rows) == BUILT
    assert [(graph.state, graph.ef_construction) for graph in status.graphs] == [("ready", FINAL_EF_CONSTRUCTION)]
    assert await finds_each(database, index, range(120))


@pytest.mark.usefixtures("few")
async def test_what_needs_no_graph_is_complete(database: Database, index: Index, rows: Rows) -> None:
    await put(database, index, range(50))
    assert (await completed(database, index)).graphs == []
    assert graphs(rows) == []


@pytest.mark.usefixtures("few", "server")
async def test_a_server_builds_the_final_graph_as_soon_as_a_load_is_over(
    database: Database, index: Index, loader: Connection, rows: Rows
) -> None:
    assert await claim(loader, index)
    await put(database, index, range(120))
    completion = asyncio.create_task(completed(database, index))
    await asyncio.sleep(3)  # longer than a round of the builder
    assert graphs(rows) == []
    await loader.close()
    await completion
    assert graphs(rows) == BUILT
    assert rows("SELECT DISTINCT ef_construction FROM s3_vectors.hnsw_graphs") == [(FINAL_EF_CONSTRUCTION,)]


@pytest.mark.usefixtures("few")
async def test_a_draft_is_replaced_by_a_final_graph(
    library: Library, database: Database, index: Index, rows: Rows
) -> None:
    await put(database, index, range(120))
    await library.build_graph(index)
    rows_changed = f"UPDATE s3_vectors.hnsw_graphs SET ef_construction = {DRAFT_EF_CONSTRUCTION} RETURNING 1"
    assert rows(rows_changed) == [(1,)]
    await completed(database, index)
    assert graphs(rows) == BUILT


@pytest.mark.usefixtures("few")
async def test_who_waits_for_a_server_goes_on_when_it_is_gone(database: Database, index: Index, rows: Rows) -> None:
    await put(database, index, range(120))
    async with await builder_connection(database.url) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", [0x5333_5647])
        completion = asyncio.create_task(completed(database, index))
        await asyncio.sleep(0.5)
        assert graphs(rows) == []
    await completion
    assert graphs(rows) == BUILT


@pytest.mark.usefixtures("few")
async def test_a_build_that_fails_is_told(database: Database, index: Index, rows: Rows) -> None:
    await put(database, index, range(120))
    async with held_up(database, completed(database, index)) as completion:
        rows("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'")
        [graph] = (await completion).graphs
    assert (graph.state, graph.error) == ("failed", "57014: canceling statement due to user request")


async def test_an_index_that_is_deleted_meanwhile_is_not_found(database: Database, index: Index, rows: Rows) -> None:
    assert rows("DELETE FROM s3_vectors.vector_indexes RETURNING id") == [(index.id,)]
    with pytest.raises(NotFoundException):
        await completed(database, index)


async def test_one_load_at_a_time_is_let_into_an_index(
    library: Library, database: Database, index: Index, loader: Connection
) -> None:
    other_index = await library.create_index(DIMENSION, name="other")
    async with await loading_connection(database.url) as other:
        assert await claim(loader, index)
        assert not await claim(other, index)
        assert await claim(other, other_index)
        assert await claimed(other) == {claimed_as(index.id), claimed_as(other_index.id)}
    async with asyncio.timeout(10):  # a backend outlives its connection by a moment
        while await claimed(loader) != {claimed_as(index.id)}:  # noqa: ASYNC110 - PostgreSQL has no event
            await asyncio.sleep(0.01)
