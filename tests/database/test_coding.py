import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import numpy as np
import psycopg
import pytest
from pgvector import Vector

from app.database import code_catalog, coding, graph_growth
from app.database.advisory_locks import is_locked
from app.database.catalog import Index
from app.database.code_growth import Begin
from app.database.coding import LOCK, Coding, coder_connection, take
from app.database.connection import Connection
from app.database.deletion import Deletion
from app.database.engine import Database
from app.database.graph_growth import MIN_CODED_DIMENSION
from app.database.nearest import Search, nearest
from app.database.selectivity import Selectivity
from app.database.vector_table import StoredVector, delete, upsert
from tests.database.conftest import Library, Rows

DIMENSION = 128
VECTORS = np.random.default_rng(3).normal(size=(2_000, DIMENSION)).astype(np.float32)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """From so many vectors on, a tail gets codes."""
    for name in ("MIN_EXACT_VECTORS", "MAX_EXACT_VECTORS"):
        monkeypatch.setattr(graph_growth, name, 100)
    return 100


@pytest.fixture
async def index(library: Library) -> Index:
    return await library.create_index(DIMENSION)


@pytest.fixture
async def coder(database: Database) -> AsyncIterator[Connection]:
    async with await coder_connection(database.url) as connection:
        yield connection


@pytest.fixture
def round_(coder: Connection, database: Database) -> Callable[[], Awaitable[int]]:
    coding = Coding(database.url, "us-east-1")
    return lambda: coding.round(coder)


async def put(database: Database, index: Index, numbers: range) -> None:
    stored = [StoredVector(f"k{i:04}", Vector(VECTORS[i]), "{}", "{}") for i in numbers]
    async with database.connection() as connection:
        await upsert(connection, index, stored)


async def finds_each(library: Library, database: Database, index: Index, numbers: range) -> bool:
    index = await library.find_index(index.arn)
    searches = [Search(index, Vector(VECTORS[i]), 1, None, return_metadata=False, recall_target=0.98) for i in numbers]
    async with database.connection() as connection:
        rows = [await nearest(connection, search, Selectivity()) for search in searches]
    return [row.key for (row,) in rows] == [f"k{i:04}" for i in numbers]


def codes(rows: Rows) -> list[tuple[object, ...]]:
    return rows("SELECT state, first_position, end_position, codes FROM s3_vectors.vector_codes ORDER BY id")


def tables(rows: Rows) -> list[tuple[object, ...]]:
    return rows("SELECT relname FROM pg_class WHERE relname LIKE 'codes%' AND relkind = 'r' ORDER BY oid")


async def test_a_long_tail_gets_codes_and_what_comes_is_added(
    library: Library, database: Database, index: Index, round_: Callable[[], Awaitable[int]], rows: Rows
) -> None:
    await put(database, index, range(100))
    assert await round_() == 0
    await put(database, index, range(100, 400))
    assert await round_() == 1
    assert codes(rows) == [("ready", 0, 401, 400)]
    assert await round_() == 0
    await put(database, index, range(400, 500))
    assert await round_() == 1
    assert codes(rows) == [("ready", 0, 501, 500)]
    assert await finds_each(library, database, index, range(0, 500, 9))


async def test_vectors_of_few_dimensions_are_not_even_counted(
    library: Library, database: Database, round_: Callable[[], Awaitable[int]], rows: Rows
) -> None:
    index = await library.create_index(MIN_CODED_DIMENSION - 1, name="small")
    stored = [StoredVector(f"k{i}", Vector(VECTORS[i][:-1]), "{}", "{}") for i in range(300)]
    async with database.connection() as connection:
        await upsert(connection, index, stored)
    async with await psycopg.AsyncConnection.connect(database.url) as other:
        await other.execute(f"LOCK vectors.index_{index.id}".encode())
        assert await round_() == 0
    assert codes(rows) == []


async def test_a_table_that_somebody_has_for_himself_is_looked_at_later(
    database: Database,
    index: Index,
    round_: Callable[[], Awaitable[int]],
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coding, "POSTPONED_SECONDS", 0)
    await put(database, index, range(300))
    async with await psycopg.AsyncConnection.connect(database.url) as other:
        await other.execute(f"LOCK vectors.index_{index.id}".encode())
        assert await round_() == 0
    assert await round_() == 1
    assert codes(rows) == [("ready", 0, 301, 300)]


async def test_codes_retire_behind_a_graph(
    library: Library, database: Database, index: Index, round_: Callable[[], Awaitable[int]], rows: Rows
) -> None:
    await put(database, index, range(400))
    await round_()
    await library.build_graph(index, 0, 201)
    await round_()
    assert codes(rows) == [("retired", 0, 401, 400), ("ready", 201, 401, 200)]
    await library.build_graph(index)
    await round_()
    assert [state for state, *_ in codes(rows)] == ["retired", "retired"]
    assert await round_() == 0


async def test_codes_retire_when_vectors_are_deleted(
    database: Database,
    index: Index,
    round_: Callable[[], Awaitable[int]],
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coding, "SETTLED_SECONDS", 0)
    await put(database, index, range(400))
    await round_()
    async with database.connection() as connection:
        await delete(connection, index, [f"k{i:04}" for i in range(380)])
    await round_()
    assert codes(rows) == [("retired", 0, 401, 400)]


async def test_whoever_had_a_position_before_is_waited_for(
    library: Library, database: Database, index: Index, round_: Callable[[], Awaitable[int]]
) -> None:
    """Its vector would have a position before the end of the codes, and no code: no search would ever find it."""
    await put(database, index, range(300))
    async with database.connection() as late:
        await late.execute("BEGIN")
        stored = StoredVector("k1999", Vector(VECTORS[1999]), "{}", "{}")
        await upsert(late, index, [stored])
        await put(database, index, range(300, 400))
        running = asyncio.ensure_future(round_())
        done, _ = await asyncio.wait([running], timeout=0.5)
        assert not done
        assert await finds_each(library, database, index, range(0, 400, 50))
        await late.commit()
    assert await running == 1
    assert await finds_each(library, database, index, range(1999, 2000))


async def test_who_writes_for_too_long_postpones_codes_and_nothing_else(
    library: Library,
    database: Database,
    index: Index,
    round_: Callable[[], Awaitable[int]],
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coding, "WRITERS_SECONDS", 0.2)
    monkeypatch.setattr(coding, "POSTPONED_SECONDS", 0)
    await put(database, index, range(300))
    async with database.connection() as late:
        await late.execute("BEGIN")
        await upsert(late, index, [StoredVector("k1999", Vector(VECTORS[1999]), "{}", "{}")])
        assert await round_() == 0
        assert codes(rows) == []
        assert await finds_each(library, database, index, range(0, 300, 50))
        await late.rollback()
    assert await round_() == 1


async def test_retired_codes_are_dropped_when_nobody_can_know_them_any_more(
    database: Database, index: Index, coder: Connection, round_: Callable[[], Awaitable[int]], rows: Rows
) -> None:
    await put(database, index, range(300))
    await round_()
    await code_catalog.retire(coder, index)
    await code_catalog.drop_forgotten(coder)
    assert len(tables(rows)) == 1
    old = code_catalog.FORGOTTEN_AFTER.total_seconds() + 1
    await coder.execute(
        f"UPDATE s3_vectors.vector_codes SET retirement_time = retirement_time - interval '{old} s'".encode()
    )
    async with await psycopg.AsyncConnection.connect(database.url) as reader:
        await reader.execute(f"SELECT count(*) FROM vectors.codes_{index.id}_1".encode())
        await code_catalog.drop_forgotten(coder)
        assert len(tables(rows)) == 1  # it waits for no reader
    await code_catalog.drop_forgotten(coder)
    assert tables(rows) == codes(rows) == []


async def test_codes_go_with_their_index(
    database: Database, index: Index, round_: Callable[[], Awaitable[int]], rows: Rows
) -> None:
    await put(database, index, range(300))
    await round_()
    rows_changed = "UPDATE s3_vectors.vector_indexes SET deletion_time = now() RETURNING 1"
    assert rows(rows_changed) == [(1,)]
    assert await round_() == 0
    await Deletion(database).drop_deleted()
    assert tables(rows) == codes(rows) == []


async def test_codes_of_an_index_that_is_being_dropped_are_not_made(
    database: Database, index: Index, coder: Connection, rows: Rows
) -> None:
    await put(database, index, range(300))
    assert rows("UPDATE s3_vectors.vector_indexes SET deletion_time = now() RETURNING 1") == [(1,)]
    await Deletion(database).drop_deleted()
    with pytest.raises(psycopg.Error):
        await take(coder, index, Begin(0, 301, 301))
    assert tables(rows) == codes(rows) == []


async def test_a_table_that_people_have_dropped_is_forgotten(
    library: Library,
    database: Database,
    index: Index,
    coder: Connection,
    round_: Callable[[], Awaitable[int]],
    rows: Rows,
) -> None:
    await put(database, index, range(80))
    await take(coder, index, Begin(0, 81, 80))
    await coder.execute(f"DROP TABLE vectors.codes_{index.id}_1".encode())
    await round_()
    assert codes(rows) == []
    assert await finds_each(library, database, index, range(0, 80, 20))


async def test_positions_may_be_regular_and_mostly_empty(
    database: Database, index: Index, round_: Callable[[], Awaitable[int]], rows: Rows
) -> None:
    await put(database, index, range(300))
    spread = f"UPDATE vectors.index_{index.id} SET position = 1 - 1000 * (1 - position) RETURNING 1"
    assert len(rows(spread)) == 300
    assert rows(f"SELECT setval('vectors.index_{index.id}_position_seq', 300000)") == [(300_000,)]
    assert await round_() == 1
    assert codes(rows) == [("ready", 0, 300_001, 300)]


async def test_there_may_be_nothing_left_to_code(
    database: Database, index: Index, coder: Connection, rows: Rows
) -> None:
    await put(database, index, range(300))
    async with database.connection() as connection:
        await delete(connection, index, [f"k{i:04}" for i in range(300)])
    assert not await take(coder, index, Begin(0, 301, 300))
    assert codes(rows) == []


async def test_what_fails_is_left_alone_for_a_while_and_leaves_searches_right(
    library: Library,
    database: Database,
    index: Index,
    round_: Callable[[], Awaitable[int]],
    rows: Rows,
) -> None:
    taken = f"CREATE TABLE vectors.codes_{index.id}_1 ()"
    async with database.connection() as connection:
        await connection.execute(taken.encode())
    await put(database, index, range(300))
    assert await round_() == 0
    assert codes(rows) == []
    assert await finds_each(library, database, index, range(0, 300, 50))
    assert await round_() == 0
    other = Coding(database.url, "us-east-1")  # one that has not failed
    async with await coder_connection(database.url) as connection:
        assert await other.round(connection) == 1
    assert [state for state, *_ in codes(rows)] == ["ready"]


async def test_there_is_one_coder_and_another_takes_over(database: Database, index: Index, rows: Rows) -> None:
    await put(database, index, range(300))
    first, second = (asyncio.ensure_future(Coding(database.url, "us-east-1").run()) for _ in range(2))
    async with asyncio.timeout(30):
        while codes(rows) != [("ready", 0, 301, 300)]:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await put(database, index, range(300, 500))
    async with asyncio.timeout(30):
        while codes(rows) != [("ready", 0, 501, 500)]:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
    async with database.connection() as connection:
        assert await is_locked(connection, LOCK)
    second.cancel()
    with suppress(asyncio.CancelledError):
        await second
