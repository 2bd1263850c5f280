from datetime import timedelta

import psycopg
import pytest

from app.database import deletion, text_backfill, text_searches
from app.database.catalog import Index
from app.database.code_growth import Begin
from app.database.coding import coder_connection, take
from app.database.deletion import Deletion
from app.database.engine import Database
from app.database.graph_building import build, builder_connection
from app.database.graph_growth import Build
from app.database.statistics import TableStatistics
from app.database.text_backfill import TextBackfill
from app.database.vector_table import delete
from app.monitoring.database_metrics import STATES, DatabaseMetrics, RowsRead
from tests.database.conftest import Library, Rows
from tests.database.test_nearest import clustered, store
from tests.database.test_text_backfill import finish, make_searchable
from tests.database.test_text_ranking import put, searchable, texts
from tests.monitoring.figures import Figures, collected


async def read(database: Database, *, per_index: bool = False) -> Figures:
    metrics = DatabaseMetrics(database, per_index=per_index)
    await metrics.read()
    return collected(metrics)


async def analyzed(database: Database, index: Index) -> None:
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        await connection.execute(f"VACUUM (ANALYZE) vectors.index_{index.id}".encode())
        await connection.execute("SELECT pg_stat_force_next_flush()")


async def test_an_empty_catalog_has_nothing(database: Database) -> None:
    figures = await read(database)
    for name in ("vector_buckets", "vector_indexes", "stored_vectors", "table_bytes", "index_bytes", "builds"):
        assert figures(name) == 0
    assert figures("statistics_failures_total") == 0
    assert figures("statistics_age_seconds") >= 0


async def test_what_is_stored_is_added_up(library: Library, database: Database) -> None:
    for name in ("movies", "books"):
        index = await library.create_index(8, name=name)
        await store(database, index, clustered(300, 8))
        await analyzed(database, index)
    figures = await read(database)
    assert (figures("vector_buckets"), figures("vector_indexes")) == (1, 2)
    assert figures("stored_vectors") == figures("tail_vectors") == 600
    assert figures("table_bytes") > 600 * 8 * 4
    assert figures("index_bytes", kind="other") > 0
    assert figures("index_bytes", kind="graph") == 0


async def test_graphs_hold_vectors_until_the_tail_is_empty(library: Library, database: Database) -> None:
    index = await library.create_index(8)
    await store(database, index, clustered(300, 8))
    await library.build_graph(index)
    await analyzed(database, index)
    figures = await read(database)
    assert figures("tail_vectors") == 0
    assert figures("index_bytes", kind="graph") > 0
    assert figures("builds", kind="graph", state="ready") == 1


async def test_a_build_that_failed_is_told(library: Library, database: Database) -> None:
    index = await library.create_index(8)
    await store(database, index, clustered(300, 8))
    async with await builder_connection(database.url) as builder:
        await builder.execute("SET lock_timeout = 1")
        await builder.execute(b"SET maintenance_work_mem = '1MB'")
        async with await psycopg.AsyncConnection.connect(database.url) as holder:
            await holder.execute(f"LOCK TABLE vectors.index_{index.id} IN SHARE MODE".encode())
            await build(builder, index, Build(0, 1_000, 400))
    figures = await read(database)
    assert figures("builds", kind="graph", state="failed") == 1
    assert figures("builds", kind="graph", state="building") == 0


async def text_search_states(database: Database) -> dict[str, float]:
    """Those of which there are any."""
    figures = await read(database)
    told = {state: figures("builds", kind="text_search", state=state) for state in STATES["text_search"]}
    assert sum(told.values()) == figures("builds", kind="text_search")
    return {state: number for state, number in told.items() if number}


async def test_text_searches_are_counted_by_what_becomes_of_their_backfill(
    library: Library,
    database: Database,
    backfill: TextBackfill,
    own_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_backfill, "CHUNK", 50)
    index = await library.create_index(2)
    await put(database, index, texts(80, seed=1))
    await make_searchable(library, index, "body")
    index = await make_searchable(library, await library.find_index(index.arn))
    assert await text_search_states(database) == {"building": 2}
    body = index.text_searches[0].id
    async with await psycopg.AsyncConnection.connect(own_database_url, autocommit=True) as connection:
        await connection.execute(f"ALTER TABLE vectors.postings_{body} RENAME TO hidden".encode())
        await backfill.round()
        await backfill.round()
        assert await text_search_states(database) == {"failed": 1, "ready": 1}
        await connection.execute(f"ALTER TABLE vectors.hidden RENAME TO postings_{body}".encode())
        await connection.execute("UPDATE s3_vectors.text_search_configurations SET retry_time = now()")
        await backfill.round()
        assert await text_search_states(database) == {"building": 1, "ready": 1}
    index = await finish(library, backfill, index)
    assert await text_search_states(database) == {"ready": 2}
    async with database.transaction() as transaction:
        await text_searches.delete(transaction, index, ["title"])
    assert await text_search_states(database) == {"ready": 1, "retired": 1}
    async with database.transaction() as transaction:
        await transaction.exec_driver_sql("UPDATE s3_vectors.vector_indexes SET deletion_time = now()")
    assert await text_search_states(database) == {"retired": 2}


async def test_tables_of_texts_are_measured_until_they_are_dropped(
    library: Library, database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    await library.create_index(8, name="other")
    assert (await read(database))("index_bytes", kind="text") == 0
    index = await searchable(library, "title", "body")
    await put(database, index, texts(200, seed=1))
    [(of_rows, of_all)] = rows(
        "SELECT sum(pg_relation_size(oid)) FILTER (WHERE relkind = 'r'), sum(pg_total_relation_size(oid))"
        " FROM pg_class WHERE relnamespace = 'vectors'::regnamespace AND relname ~ '^(text|postings)_[0-9]+$'"
    )
    assert (await read(database))("index_bytes", kind="text") == float(str(of_all)) > float(str(of_rows)) > 0
    async with database.transaction() as transaction:
        await text_searches.delete(transaction, index, ["title", "body"])
    assert (await read(database))("index_bytes", kind="text") == float(str(of_all))
    monkeypatch.setattr(deletion, "FORGOTTEN_AFTER", timedelta())
    await Deletion(database).drop_deleted()
    assert (await read(database))("index_bytes", kind="text") == 0


async def test_codes_are_measured(library: Library, database: Database, rows: Rows) -> None:
    index = await library.create_index(128)
    await store(database, index, clustered(300, 128))
    assert (await read(database))("index_bytes", kind="codes") == 0
    async with await coder_connection(database.url) as coder:
        await take(coder, index, Begin(0, 301, 301))
    [(size,)] = rows(f"SELECT pg_total_relation_size('vectors.codes_{index.id}_1')")
    assert (await read(database))("index_bytes", kind="codes") == float(str(size)) > 0


async def test_dead_rows_are_told_until_they_are_vacuumed(library: Library, database: Database) -> None:
    index = await library.create_index(8)
    await store(database, index, clustered(300, 8))
    async with database.connection() as connection:
        await delete(connection, index, [f"k{i:05}" for i in range(100)])
        await connection.execute("SELECT pg_stat_force_next_flush()")
    dead = (await read(database))("dead_rows")
    await analyzed(database, index)
    assert dead > (await read(database))("dead_rows") == 0


async def test_names_are_told_only_where_the_operator_wants_them(library: Library, database: Database) -> None:
    index = await library.create_index(8)
    await store(database, index, clustered(300, 8))
    await analyzed(database, index)
    assert not {"vector_bucket", "index"} & set((await read(database)).labels)
    figures = await read(database, per_index=True)
    named = {"account_id": "000000000000", "vector_bucket": "media", "index": "movies"}
    assert figures("one_index_stored_vectors", **named) == 300
    assert figures("one_index_table_bytes", **named) == figures("table_bytes")


async def test_what_cannot_be_read_stays_as_it_was(library: Library, database: Database, own_database_url: str) -> None:
    index = await library.create_index(8)
    await store(database, index, clustered(300, 8))
    await analyzed(database, index)
    metrics = DatabaseMetrics(database, per_index=False)
    await metrics.read()
    async with await psycopg.AsyncConnection.connect(own_database_url, autocommit=True) as connection:
        await connection.execute("ALTER TABLE s3_vectors.hnsw_graphs RENAME TO gone")
    await metrics.read()
    figures = collected(metrics)
    assert figures("statistics_failures_total") == 1
    assert figures("stored_vectors") == 300


def table(table_id: int, rows_scanned: int, rows_fetched: int) -> TableStatistics:
    return TableStatistics(table_id, "0", "b", "i", False, 0, 0, 0, rows_scanned, rows_fetched, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param([[(1, 5, 2)], [(1, 9, 3)]], (9, 3), id="they grow with PostgreSQL's"),
        pytest.param([[(1, 5, 2), (2, 7, 1)], [(1, 5, 2)]], (12, 3), id="a table that is dropped takes nothing away"),
        pytest.param([[(1, 5, 2)], [(1, 1, 0)], [(1, 2, 0)]], (7, 2), id="nor do statistics that begin anew"),
        pytest.param([[], [(1, 4, 4)]], (4, 4), id="a new table adds all of its"),
    ],
)
def test_rows_read_are_never_fewer_than_before(
    seen: list[list[tuple[int, int, int]]], expected: tuple[int, int]
) -> None:
    rows = RowsRead()
    for tables in seen:
        rows.see([table(*numbers) for numbers in tables])
    assert (rows.scanned, rows.fetched) == expected
