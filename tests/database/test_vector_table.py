from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from pgvector import Vector
from sqlalchemy.dialects import postgresql

from app.database import listing
from app.database.catalog import Index
from app.database.engine import Database
from app.database.graphs import graph_name
from app.database.listing import Cursor, PageRequest, Segment
from app.database.vector_table import Returned, StoredVector, get, table_of, upsert
from app.filters.compile import compile_filter
from app.filters.parse import parse_filter
from tests.database.conftest import Library, Rows

DIALECT: Any = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


async def fill(database: Database, index: Index, number: int = 3_000) -> None:
    generator = np.random.default_rng(1)
    vectors = [
        StoredVector(f"k{i:05}", Vector(generator.normal(size=index.dimension)), f'{{"n": {i}, "m": {i % 100}}}', "{}")
        for i in range(number)
    ]
    async with database.connection() as connection:
        await upsert(connection, index, vectors)
    async with database.transaction() as connection:
        await connection.exec_driver_sql(f"ANALYZE vectors.index_{index.id}")


async def plan(database: Database, statement: sa.Select[tuple[object, ...]]) -> str:
    """Of a statement with its values written in, without the sequential scan that small tables deserve."""
    compiled: Any = statement.compile(dialect=DIALECT)
    processors = compiled._bind_processors  # noqa: SLF001 - EXPLAIN is no clause of theirs
    values = {name: processors.get(name, lambda v: v)(value) for name, value in compiled.params.items()}
    async with database.transaction() as connection:
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        result = await connection.exec_driver_sql(f"EXPLAIN {compiled}", values)
        return "\n".join(row[0] for row in result)


@pytest.mark.parametrize(
    ("dimension", "metric", "hnsw"),
    [
        (3, "cosine", "hnsw (((l2_normalize(embedding))::halfvec(3)) halfvec_cosine_ops) {with}WHERE ({positions})"),
        (
            3,
            "euclidean",
            "hnsw (((embedding)::halfvec(3)) halfvec_l2_ops) {with}"
            "WHERE ({positions} AND (vector_norm(embedding) <= (65504)::double precision))",
        ),
        (
            4000,
            "cosine",
            "hnsw (((l2_normalize(embedding))::halfvec(4000)) halfvec_cosine_ops) {with}WHERE ({positions})",
        ),
        (
            4096,
            "cosine",
            "hnsw (((subvector(l2_normalize(embedding), 1, 4000))::halfvec(4000)) halfvec_cosine_ops) "
            "{with}WHERE ({positions})",
        ),
    ],
)
async def test_each_index_has_its_indexes(library: Library, rows: Rows, dimension: int, metric: str, hnsw: str) -> None:
    index = await library.build_graph(await library.create_index(dimension, metric), 0, 1000)
    shown = rows("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'vectors'")
    definitions = {row[0]: row[1] for row in shown}
    on = f"ON vectors.index_{index.id} USING "
    positions = '("position" >= 0) AND ("position" < 1000)'
    hnsw = hnsw.format(positions=positions, **{"with": "WITH (m='16', ef_construction='400') "})
    graph = graph_name(index.id, index.graphs[0].id)
    assert definitions == {
        f"index_{index.id}_pkey": f"CREATE UNIQUE INDEX index_{index.id}_pkey {on}btree (key)",
        graph: f"CREATE INDEX {graph} {on}{hnsw}",
        f"gin_{index.id}": f"CREATE INDEX gin_{index.id} {on}gin (metadata jsonb_path_ops) WITH (fastupdate=off)",
        f"position_{index.id}": f'CREATE INDEX position_{index.id} {on}btree ("position")',
        f"segment_{index.id}": f"CREATE INDEX segment_{index.id} {on}btree (hashtextextended(key, (0)::bigint), key)",
    }


@pytest.mark.parametrize(("dimension", "storage"), [(3, "p"), (1764, "p"), (1765, "e"), (4096, "e")])
async def test_embeddings_stay_in_the_page_while_they_fit(
    library: Library, rows: Rows, dimension: int, storage: str
) -> None:
    index = await library.create_index(dimension)
    [(shown, statistics, comment)] = rows(
        "SELECT e.attstorage::text, m.attstattarget, obj_description(e.attrelid) FROM pg_attribute e, pg_attribute m "
        f"WHERE e.attrelid = 'vectors.index_{index.id}'::regclass AND m.attrelid = e.attrelid "
        "AND e.attname = 'embedding' AND m.attname = 'metadata'"
    )
    assert (shown, statistics, comment) == (storage, 1000, str(index.arn))


@pytest.mark.parametrize("dimension", [1764, 4096])
async def test_the_largest_record_fits(library: Library, database: Database, dimension: int) -> None:
    """Random numbers do not compress, nor does a key of random characters."""
    index = await library.create_index(dimension)
    noise = "".join(map(chr, np.random.default_rng(2).integers(33, 126, 40_000))).replace('"', "_").replace("\\", "_")
    record = StoredVector(
        noise[:1024],
        Vector(np.random.default_rng(3).normal(size=dimension)),
        f'{{"a": "{noise[:2_000]}"}}',
        f'{{"t": "{noise[:38_000]}"}}',
    )
    async with database.connection() as connection:
        await upsert(connection, index, [record])
        [stored] = await get(connection, index, [record.key], Returned(data=True, metadata=True))
    assert noise[:38_000] in stored.metadata


async def test_containment_is_served_by_gin(library: Library, database: Database) -> None:
    index = await library.create_index(3)
    await fill(database, index)
    table = table_of(index)
    for document in ({"n": 5}, {"n": {"$in": [5, 6]}}, {"$and": [{"n": 5}, {"m": 5}]}):
        condition = compile_filter(parse_filter(document, ()), table.c.metadata)
        assert f"gin_{index.id}" in await plan(database, sa.select(table.c.key).where(condition))


@pytest.mark.parametrize("after", [None, Cursor(5, "k")], ids=["first page", "next page"])
async def test_pages_are_one_range_of_the_segment_index(
    library: Library, database: Database, after: Cursor | None
) -> None:
    index = await library.create_index(3)
    await fill(database, index)
    request = PageRequest(Segment(1, 4), after, 10, Returned(data=True, metadata=True))
    shown = await plan(database, listing._statement(table_of(index), request))  # noqa: SLF001 - what is asked is its plan
    assert f"Index Scan using segment_{index.id}" in shown
    assert "Sort" not in shown
    assert "Filter" not in shown


@pytest.mark.parametrize("count", range(1, 17))
def test_segments_divide_all_hashes(count: int) -> None:
    segments = [Segment(i, count) for i in range(count)]
    assert segments[0].first_hash == -(2**63)
    assert segments[-1].last_hash == 2**63 - 1
    for left, right in pairwise(segments):
        assert left.last_hash + 1 == right.first_hash
