"""Keys that are made searchable of an index with vectors, while others write."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from app.access_keys import AccessKey
from app.database import text_backfill, text_searches, vector_table
from app.database.catalog import Index
from app.database.catalog_cache import CatalogCache
from app.database.engine import Database
from app.database.text_backfill import TextBackfill
from app.database.text_ranking import TextRanking
from app.envelope import KeyEncryptionKeys, new_key
from app.full_text.searchable_key import SearchableKey
from app.policy.principals import root_user
from tests.database.conftest import Library, Rows
from tests.database.test_text_ranking import (
    assert_same,
    assert_tidy,
    delete,
    expected,
    put,
    queries,
    ranked,
    stored,
    texts,
)

KEY = new_key()


@pytest.fixture
async def backfill(database: Database) -> AsyncIterator[TextBackfill]:
    cache = CatalogCache(
        database, KeyEncryptionKeys(lambda: [KEY]), AccessKey("ROOT", "none", root_user("000000000000"))
    )
    yield TextBackfill(database, cache, "us-east-1")
    await cache.close()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_backfill, "CHUNK", 50)


async def make_searchable(library: Library, index: Index, key: str = "title") -> Index:
    async with library.database.transaction() as connection:
        await text_searches.add(connection, index, [SearchableKey(key, "en")], "building")
    return await library.find_index(index.arn)


async def finish(library: Library, backfill: TextBackfill, index: Index) -> Index:
    for _ in range(1_000):
        if all(search.active for search in index.text_searches):
            return index
        await backfill.round()
        index = await library.find_index(index.arn)
    pytest.fail("the backfill does not end")


async def test_all_texts_are_indexed_chunk_by_chunk(library: Library, backfill: TextBackfill, rows: Rows) -> None:
    index, metadata = await library.create_index(2), texts(320, seed=1)
    await put(library.database, index, metadata)
    async with library.database.transaction() as connection:  # as absorbed vectors share one
        await connection.execute(sa.text(f"UPDATE vectors.index_{index.id} SET position = 7 WHERE key < 'k0200'"))
    index = await make_searchable(library, index)
    assert [search.active for search in index.text_searches] == [False]
    await backfill.round()
    [(built_up_to,)] = rows("SELECT built_up_to FROM s3_vectors.text_search_configurations")
    assert built_up_to == "k0049"
    index = await finish(library, backfill, index)
    found = await ranked(library.database, TextRanking(index, queries(index, title="library files"), 50))
    assert_same(found, expected(metadata, 50, title="library files"))
    assert_tidy(rows, index, index.text_searches[0].id)


async def test_what_others_write_meanwhile_is_indexed_once(
    library: Library, backfill: TextBackfill, rows: Rows
) -> None:
    index, metadata = await library.create_index(2), texts(300, seed=2)
    await put(library.database, index, metadata)
    index = await make_searchable(library, index)
    changed = texts(400, seed=3)
    batches = [dict(list(changed.items())[i : i + 40]) for i in range(0, 400, 40)]
    gone = list(metadata)[::9]

    async def write() -> None:
        for batch in reversed(batches[3:]):
            await put(library.database, index, batch)
            await delete(library.database, index, gone)

    finished, *_ = await asyncio.gather(finish(library, backfill, index), write(), write())
    await delete(library.database, index, gone)
    written = {key: m for batch in batches[3:] for key, m in batch.items()}
    now = {key: m for key, m in (metadata | written).items() if key not in gone}
    found = await ranked(library.database, TextRanking(finished, queries(finished, title="strategy game"), 1_000))
    assert_same(found, expected(now, 1_000, title="strategy game"))
    assert_tidy(rows, finished, finished.text_searches[0].id)


async def test_it_waits_for_writers_that_knew_nothing_of_the_key(library: Library, backfill: TextBackfill) -> None:
    before, metadata = await library.create_index(2), texts(20, seed=4)
    async with library.database.connection() as connection:
        await connection.execute("BEGIN")
        await vector_table.upsert(connection, before, [stored(before, key, metadata[key]) for key in sorted(metadata)])
        index = await make_searchable(library, before)
        for _ in range(3):
            assert not await backfill.round()
        assert not (await library.find_index(index.arn)).text_searches[0].active
        await connection.execute("COMMIT")
    index = await finish(library, backfill, index)
    found = await ranked(library.database, TextRanking(index, queries(index, title="library files"), 50))
    assert_same(found, expected(metadata, 50, title="library files"))


async def test_two_workers_share_the_work(library: Library, backfill: TextBackfill, rows: Rows) -> None:
    index, metadata = await library.create_index(2), texts(320, seed=5)
    await put(library.database, index, metadata)
    index = await make_searchable(library, index)
    await asyncio.gather(*(finish(library, backfill, index) for _ in range(2)))
    assert_tidy(rows, index, index.text_searches[0].id)


async def test_a_backfill_that_fails_says_why_and_is_tried_again_later(
    library: Library, backfill: TextBackfill, rows: Rows
) -> None:
    index = await library.create_index(2)
    await put(library.database, index, texts(20, seed=6))
    index = await make_searchable(library, index)
    search_id = index.text_searches[0].id
    async with library.database.transaction() as connection:
        await connection.execute(sa.text(f"ALTER TABLE vectors.postings_{search_id} RENAME TO hidden"))
    await backfill.round()
    [(state, attempts, error, waits)] = rows(
        "SELECT state, attempts, error, retry_time > now() FROM s3_vectors.text_search_configurations"
    )
    assert (state, attempts, waits) == ("building", 1, True)
    assert str(error).startswith("42P01")
    assert not await backfill.round()


async def test_a_failure_is_forgotten_when_it_goes_on(library: Library, backfill: TextBackfill, rows: Rows) -> None:
    index = await library.create_index(2)
    await put(library.database, index, texts(80, seed=9))
    await make_searchable(library, index)
    failed = "attempts = 3, error = '53100: disk full', retry_time = now()"
    async with library.database.transaction() as connection:
        await connection.execute(sa.text(f"UPDATE s3_vectors.text_search_configurations SET {failed}"))
    await backfill.round()
    told = rows("SELECT state, built_up_to, attempts, error, retry_time FROM s3_vectors.text_search_configurations")
    assert told == [("building", "k0049", 0, None, None)]


async def test_what_an_older_analyzer_has_made_is_built_anew(
    library: Library, backfill: TextBackfill, rows: Rows
) -> None:
    index, metadata = await library.create_index(2), texts(120, seed=8)
    await put(library.database, index, metadata)
    await make_searchable(library, index, "body")
    before = await finish(library, backfill, await make_searchable(library, await library.find_index(index.arn)))
    async with library.database.transaction() as connection:
        outdate = "UPDATE s3_vectors.text_search_configurations SET analyzer_version = 0 WHERE metadata_key = 'title'"
        await connection.execute(sa.text(outdate))
    await asyncio.gather(backfill.renew(), backfill.renew())
    index = await library.find_index(index.arn)
    assert [(search.metadata_key, search.active) for search in index.text_searches] == [
        ("body", True),
        ("title", False),
    ]
    assert index.text_searches[1].id > before.text_searches[1].id
    index = await finish(library, backfill, index)
    found = await ranked(library.database, TextRanking(index, queries(index, title="library files"), 50))
    assert_same(found, expected(metadata, 50, title="library files"))
    assert_tidy(rows, index, index.text_searches[1].id)


async def test_statistics_are_folded_while_others_write(library: Library, backfill: TextBackfill, rows: Rows) -> None:
    before = await library.create_index(2)
    async with library.database.transaction() as connection:
        await text_searches.add(connection, before, [SearchableKey("title", "en")], "active")
    index, metadata = await library.find_index(before.arn), texts(200, seed=7)

    async def write(keys: list[str]) -> None:
        for key in keys:
            await put(library.database, index, {key: metadata[key]})

    await asyncio.gather(
        write(list(metadata)[::2]), write(list(metadata)[1::2]), *(backfill.round() for _ in range(10))
    )
    await backfill.round()
    [(number,)] = rows("SELECT count(*) FROM s3_vectors.text_statistics")
    assert isinstance(number, int)
    assert number <= text_backfill.FEW_STATISTICS
    assert_tidy(rows, index, index.text_searches[0].id)
