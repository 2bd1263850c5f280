import json
import random
import time
from collections.abc import AsyncIterator, Collection
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pgvector import Vector

from app.database import catalog, range_indexes
from app.database.catalog import Index
from app.database.connection import Connection
from app.database.engine import Database
from app.database.graph_building import builder_connection
from app.database.range_indexes import MAX_RANGE_INDEXES, USES, RangeUse, build_wanted, recover
from app.database.statements import compiled
from app.database.vector_table import StoredVector, table_of, upsert
from app.filters.compile import compile_filter
from app.filters.nodes import Node, RangeKey, range_keys
from app.filters.parse import parse_filter
from app.filters.range_conditions import range_value
from tests.database.conftest import Library, Rows
from tests.filters.reference import matches

HOSTILE = ["", "a'b", "\\'; DROP TABLE x; --", 'a"b', "%s %(a)s %%", "ключ 😀", ":param", "\x01\n", "a$$"]

DOCUMENTS: list[dict[str, Any]] = [
    {"year": 1959},
    {"year": 1960.5},
    {"year": -(2**64) - 1},
    {"year": 10**300},
    {"year": "1959"},
    {"year": ""},
    {"year": True},
    {"year": False},
    {"year": [1, 9]},
    {"year": [5]},
    {"year": ["5", "x"]},
    {"year": ["only text"]},
    {},
]

RANGES: list[dict[str, Any]] = [
    {"$gt": 5},
    {"$gte": 5},
    {"$lt": 5},
    {"$lte": 5},
    {"$gt": 4, "$lt": 6},
    {"$gte": 1959, "$lte": 1960.5},
    {"$gt": 9, "$lt": 1},
    {"$gt": -1e300},
    {"$lt": 1e300},
]


ABOVE_0: dict[str, Any] = {"$gt": 0}

LONG_TITLE = "ключ 😀" * 40
TITLES: list[dict[str, Any]] = [
    {"title": "So What"},
    {"title": "So"},
    {"title": "so what"},
    {"title": "Sp"},
    {"title": ""},
    {"title": ["Blue in Green", "So What"]},
    {"title": ["", "x"]},
    {"title": [1, 2]},
    {"title": 5},
    {"title": True},
    {},
    {"title": LONG_TITLE},
    {"title": LONG_TITLE[:64]},
    {"title": LONG_TITLE[:64] + "x"},
    {"title": "\U0010ffff\U0010ffff"},
    {"title": "100%_\\x"},
    {"title": "100"},
    {"title": "ärger"},
    {"title": "a\u0308rger"},
    {"title": "a\ud7ff"},
    {"title": "a\ue000"},
    {"title": "😀" * 512},
]
PREFIXES = [
    *(
        "S",
        "So",
        "So ",
        "So What",
        "s",
        "x",
        "1",
        "100%",
        "100%_",
        "100%_\\",
        "ä",
        "a",
        "a\u0308",
        "a\ud7ff",
        "a\ue000",
    ),
    *("\U0010ffff", "\U0010ffff\U0010ffff", "😀", "😀" * 64, "😀" * 65, "😀" * 512),
    *(LONG_TITLE[:length] for length in (1, 5, 63, 64, 65, 240)),
]


@pytest.fixture(autouse=True)
def small_tables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_indexes, "MIN_TABLE_BYTES", 0)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    async with await builder_connection(database.url) as connection:
        yield connection


@pytest.fixture
async def index(library: Library) -> Index:
    return await library.create_index(1)


async def store(connection: Connection, index: Index, documents: list[dict[str, Any]]) -> None:
    await upsert(
        connection,
        index,
        [StoredVector(f"k{i:04}", Vector([1]), json.dumps(document), "{}") for i, document in enumerate(documents)],
    )


async def ask(
    connection: Connection, index: Index, *keys: str, times: int = USES, test: dict[str, Any] = ABOVE_0
) -> None:
    use = RangeUse()
    for key in keys:
        for _ in range(times):
            use.note(index.id, range_keys(ranging(key, test)))
    await use.write(connection)


def digits(number: int) -> str:
    """Such as do not compress."""
    return "".join(random.Random(7).choices("123456789", k=number))  # noqa: S311 - nobody guesses them


def ranging(key: str, test: dict[str, Any]) -> Node:
    return parse_filter({key: test}, ())


async def found(connection: Connection, index: Index, node: Node, ranged_keys: Collection[RangeKey]) -> list[int]:
    table = table_of(index)
    statement = sa.select(table.c.key).where(compile_filter(node, table.c.metadata, ranged_keys)).order_by(table.c.key)
    return [int(row.key[1:]) for row in await connection.run(compiled(statement), prepare=False)]


async def plan(connection: Connection, index: Index, node: Node) -> str:
    """With all that could serve it."""
    table = table_of(index)
    statement = compiled(sa.select(table.c.key).where(compile_filter(node, table.c.metadata, range_keys(node))))
    await connection.use(enable_seqscan="off")
    cursor = await connection.execute(f"EXPLAIN {statement.text}".encode(), statement.values, prepare=False)
    return "\n".join(row[0] for row in await cursor.fetchall())


STATES = "SELECT key, state, attempts, error FROM s3_vectors.range_indexes ORDER BY key"
INDEXES = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'vectors' AND indexname LIKE 'range%' ORDER BY 1"


async def test_a_key_is_wanted_once_it_is_asked_for_often(
    connection: Connection, index: Index, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    use, now = RangeUse(), time.monotonic()
    moments = [now, now + 10, now + range_indexes.WITHIN_SECONDS + 1, now + range_indexes.WITHIN_SECONDS + 2]
    for moment, wanted in zip(moments, [[], [], [], ["year"]], strict=True):
        monkeypatch.setattr(time, "monotonic", lambda moment=moment: moment)
        use.note(index.id, range_keys(parse_filter({"$or": [{"year": {"$gt": 5}}, {"genre": "jazz"}]}, ())))
        await use.write(connection)
        assert [key for key, *_ in rows(STATES)] == wanted


async def test_a_key_of_lists_gets_no_index(connection: Connection, index: Index, rows: Rows) -> None:
    await store(connection, index, [{"year": [i], "size": i if i % 3 else [i]} for i in range(30)] + [{}] * 30)
    await ask(connection, index, "year", "size")
    assert await build_wanted(connection) == 1
    assert [(key, state) for key, state, *_ in rows(STATES)] == [("size", "ready")]


async def test_an_index_that_is_gone_wants_nothing(connection: Connection, index: Index, rows: Rows) -> None:
    await connection.execute("UPDATE s3_vectors.vector_indexes SET deletion_time = now()")
    await ask(connection, index, "year")
    assert rows(STATES) == []


async def test_uses_that_could_not_be_written_are_written_later(database: Database, index: Index, rows: Rows) -> None:
    use = RangeUse()
    for _ in range(USES):
        use.note(index.id, range_keys(ranging("year", {"$gt": 0})))
    broken = await builder_connection(database.url)
    await broken.close()
    with pytest.raises(psycopg.OperationalError):
        await use.write(broken)
    async with await builder_connection(database.url) as connection:
        await use.write(connection)
    assert [key for key, *_ in rows(STATES)] == ["year"]


async def test_no_more_keys_wait_than_have_room(connection: Connection, index: Index, rows: Rows) -> None:
    await ask(connection, index, *(f"k{number}" for number in range(15)))
    await ask(connection, index, *(f"l{number}" for number in range(15)))
    assert len(rows(STATES)) == 2 * MAX_RANGE_INDEXES


async def test_a_range_index_finds_what_the_reference_finds(connection: Connection, index: Index) -> None:
    await store(connection, index, DOCUMENTS)
    await ask(connection, index, "year")
    await build_wanted(connection)
    for bounds in RANGES:
        node = ranging("year", bounds)
        expected = [i for i, document in enumerate(DOCUMENTS) if matches({"year": bounds}, document)]
        assert "Bitmap Index Scan on range_" in await plan(connection, index, node)
        assert await found(connection, index, node, range_keys(node)) == expected, bounds
        assert await found(connection, index, node, []) == expected, bounds


async def test_keys_are_only_data(connection: Connection, index: Index, rows: Rows) -> None:
    await store(connection, index, [{key: number} for key in HOSTILE for number in (1, 7)])
    await ask(connection, index, *HOSTILE)
    await build_wanted(connection, limit=len(HOSTILE))
    assert rows(STATES) == [(key, "ready", 0, None) for key in sorted(HOSTILE)]
    for number, key in enumerate(HOSTILE):
        node = ranging(key, {"$gt": 5})
        assert "Bitmap Index Scan on range_" in await plan(connection, index, node)
        assert await found(connection, index, node, range_keys(node)) == [2 * number + 1]


async def test_no_row_is_refused_for_its_size(connection: Connection, index: Index, rows: Rows) -> None:
    """An entry of a btree ends at 2,704 bytes; a number that the API takes has at most 4,300 digits."""
    wide: list[dict[str, Any]] = [
        {"year": digits(2_000)},
        {"year": [digits(1_200)[i : i + 8] for i in range(0, 1_200, 8)]},
        {"year": [i / 7 for i in range(200)]},
        {"year": int(digits(4_300))},
    ]
    await store(connection, index, wide)
    await ask(connection, index, "year")
    await build_wanted(connection)
    assert rows(STATES) == [("year", "ready", 0, None)]
    await store(connection, index, [*wide[::-1], *wide])
    year = ranging("year", {"$gt": 25})
    assert await found(connection, index, year, range_keys(year)) == [0, 1, 6, 7]


async def test_a_range_index_of_strings_finds_what_begins_so(connection: Connection, index: Index, rows: Rows) -> None:
    """Also what is longer than an entry, in any case and collation, and in lists."""
    await store(connection, index, TITLES)
    await ask(connection, index, "title", test={"$startsWith": "x"})
    await build_wanted(connection)
    assert rows("SELECT key, value_type, state FROM s3_vectors.range_indexes") == [("title", "string", "ready")]
    for prefix in PREFIXES:
        node = ranging("title", {"$startsWith": prefix})
        expected = [i for i, document in enumerate(TITLES) if matches({"title": {"$startsWith": prefix}}, document)]
        assert expected, prefix
        assert "Bitmap Index Scan on range_" in await plan(connection, index, node)
        assert await found(connection, index, node, range_keys(node)) == expected, prefix
        assert await found(connection, index, node, ()) == expected, prefix


async def test_empty_strings_cost_a_prefix_nothing(connection: Connection, index: Index) -> None:
    """Where many rows have them, they are not among the lists that every prefix looks through."""
    await store(connection, index, [{"title": ""} for _ in range(50)] + [{"title": "So What"}, {"title": ["x", ""]}])
    table = table_of(index)
    value = range_value(table.c.metadata, RangeKey("title", "string"))
    entries = sa.select(value).where(value.is_not(None)).order_by(value)
    assert await connection.run(compiled(entries), prepare=False) == [("",), ("So What",)]


async def test_numbers_and_strings_of_a_key_have_indexes_of_their_own(
    database: Database, connection: Connection, index: Index, rows: Rows
) -> None:
    await store(connection, index, [*DOCUMENTS, {"year": "1959 or so"}])
    await ask(connection, index, "year")
    await ask(connection, index, "year", test={"$startsWith": "19"})
    await ask(connection, index, "empty", test={"$startsWith": ""})
    await build_wanted(connection)
    types = rows("SELECT key, value_type FROM s3_vectors.range_indexes WHERE state = 'ready' ORDER BY 2")
    assert types == [("year", "number"), ("year", "string")]
    async with database.transaction() as transaction:
        known = (await catalog.find_index(transaction, index.arn)).ranged_keys
    assert known == {RangeKey("year", "number"), RangeKey("year", "string")}
    node = parse_filter({"$or": [{"year": {"$gt": 1959}}, {"year": {"$startsWith": "1959"}}]}, ())
    assert (await plan(connection, index, node)).count("Bitmap Index Scan on range_") == 4
    assert await found(connection, index, node, known) == [1, 3, 4, 13]


async def test_what_was_built_is_not_built_again(connection: Connection, index: Index, rows: Rows) -> None:
    await ask(connection, index, "year")
    await build_wanted(connection)
    [(built,)] = rows("SELECT indexrelid FROM pg_index WHERE indexrelid::regclass::text LIKE 'vectors.range%'")
    await ask(connection, index, "year")
    await recover(connection)
    await build_wanted(connection)
    assert rows("SELECT indexrelid FROM pg_index WHERE indexrelid::regclass::text LIKE 'vectors.range%'") == [(built,)]


async def test_small_tables_need_none(
    connection: Connection, index: Index, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_indexes, "MIN_TABLE_BYTES", 1024 * 1024)
    await ask(connection, index, "year")
    await build_wanted(connection)
    assert rows(STATES) == [("year", "wanted", 0, None)]


async def test_a_build_that_fails_is_tried_again_later_and_says_why(
    connection: Connection, index: Index, rows: Rows
) -> None:
    await store(connection, index, [{"year": 5}])
    too_wide = f'{{"year": {digits(9_000)}}}'
    await connection.execute(f"UPDATE vectors.index_{index.id} SET metadata = %s::jsonb".encode(), [too_wide])
    await ask(connection, index, "year")
    await build_wanted(connection)
    [(key, state, attempts, error)] = rows(STATES)
    assert (key, state, attempts) == ("year", "failed", 1)
    assert str(error).startswith("54000: index row size")
    assert rows(INDEXES) == []
    await build_wanted(connection)
    assert rows(STATES)[0][2] == 1  # not yet
    await connection.execute("UPDATE s3_vectors.range_indexes SET retry_time = now()")
    await build_wanted(connection)
    assert rows(STATES)[0][2] == 2
    await connection.execute(f"UPDATE vectors.index_{index.id} SET metadata = '{{}}'".encode())
    await connection.execute(f"VACUUM vectors.index_{index.id}".encode())
    await connection.execute("UPDATE s3_vectors.range_indexes SET retry_time = now()")
    await build_wanted(connection)
    assert rows(STATES) == [("year", "ready", 0, None)]


async def test_an_interrupted_build_is_cleared_away_and_tried_again(
    connection: Connection, index: Index, rows: Rows, own_database_url: str
) -> None:
    await ask(connection, index, "year")
    [(row_id,)] = rows("SELECT id FROM s3_vectors.range_indexes")
    await connection.execute("UPDATE s3_vectors.range_indexes SET state = 'building', attempts = 1")
    name = f"range_{index.id}_{row_id}"
    await connection.execute(f"CREATE INDEX {name} ON vectors.index_{index.id} (key)".encode())
    with psycopg.connect(own_database_url) as superuser:
        superuser.execute(
            f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'vectors.{name}'::regclass".encode()
        )
    await recover(connection)
    assert rows(STATES) == [("year", "failed", 1, "The build was interrupted.")]
    assert rows(INDEXES) == []
    await connection.execute("UPDATE s3_vectors.range_indexes SET retry_time = now()")
    await build_wanted(connection)
    assert rows(STATES) == [("year", "ready", 0, None)]
    assert rows(INDEXES) == [(name,)]


async def test_what_people_drop_is_built_again_and_what_they_delete_is_dropped(
    connection: Connection, index: Index, rows: Rows
) -> None:
    await ask(connection, index, "genre", "year")
    await build_wanted(connection)
    [(year,)] = rows("SELECT id FROM s3_vectors.range_indexes WHERE key = 'year'")
    await connection.execute(f"DROP INDEX vectors.range_{index.id}_{year}".encode())
    await connection.execute("DELETE FROM s3_vectors.range_indexes WHERE key = 'genre'")
    await recover(connection)
    assert rows(STATES) == [("year", "wanted", 0, None)]
    assert rows(INDEXES) == []
    await build_wanted(connection)
    assert rows(INDEXES) == [(f"range_{index.id}_{year}",)]


async def test_unused_keys_make_room(connection: Connection, index: Index, rows: Rows) -> None:
    await ask(connection, index, "a", "b")
    await build_wanted(connection, limit=2)
    await ask(connection, index, "c")
    await build_wanted(connection, limit=2)
    assert [(key, state) for key, state, *_ in rows(STATES)] == [("a", "ready"), ("b", "ready"), ("c", "wanted")]
    await connection.execute("UPDATE s3_vectors.range_indexes SET last_used_time = now() - interval '2 hours'")
    await ask(connection, index, "a", "c", times=1)  # uses, however few, are noted
    await build_wanted(connection, limit=2)
    assert [(key, state) for key, state, *_ in rows(STATES)] == [("a", "ready"), ("c", "ready")]
    assert len(rows(INDEXES)) == 2


async def test_what_waits_in_vain_is_forgotten(connection: Connection, index: Index, rows: Rows) -> None:
    await ask(connection, index, "year")
    await connection.execute("UPDATE s3_vectors.range_indexes SET last_used_time = now() - interval '2 hours'")
    await build_wanted(connection)
    assert rows(STATES) == []
