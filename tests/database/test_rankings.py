"""What queries of several pages have found, as rows."""

import asyncio

import pytest

from app.database.catalog import Index
from app.database.deletion import Deletion
from app.database.engine import Database
from app.database.rankings import Cursor, Ranking, find_page, store
from app.errors import NotFoundException, ValidationException
from app.limits import MAX_RANKING_BYTES_OF_ONE, MAX_RANKINGS_OF_ONE
from tests.database.conftest import Library, Rows

UNUSUAL = 'é "\\ \n 中 🎈 {},'


def ranking(number: int, name: str = "k") -> Ranking:
    return Ranking([f"{name}{i}" for i in range(number)], [i / 7 for i in range(number)])


@pytest.fixture
async def index(library: Library) -> Index:
    return await library.create_index(2)


async def stored(database: Database, index: Index, whole: Ranking, user_id: str = "ana") -> Cursor:
    async with database.connection() as connection:
        return await store(connection, index, user_id, list(whole.pages()))


async def read(database: Database, cursor: Cursor) -> Ranking:
    async with database.connection() as connection:
        return await find_page(connection, cursor)


async def is_there(database: Database, cursor: Cursor) -> bool:
    try:
        await read(database, cursor)
    except ValidationException:
        return False
    return True


@pytest.mark.parametrize("number", [101, 200, 10_000])
async def test_pages_come_back_as_they_were_cut(database: Database, index: Index, number: int) -> None:
    whole = ranking(number, UNUSUAL)
    cursor: Cursor | None = await stored(database, index, whole)
    pages = []
    while cursor:
        pages.append(await read(database, cursor))
        cursor = cursor.next
    assert pages == list(whole.pages())
    assert [key for page in pages for key in page.keys] == whole.keys
    assert [distance for page in pages for distance in page.distances] == whole.distances


async def test_scores_stay_beside_their_keys(database: Database, index: Index) -> None:
    """Of what only a text has found there is no distance, and of what it has not found no score."""
    keys = [f"k{i}" for i in range(150)]
    title: list[float | None] = [i / 3 for i in range(150)]
    plot: list[float | None] = [None if i % 2 else 1e-300 * i for i in range(150)]
    whole = Ranking(keys, [None] * 150, [1 / (60 + i) for i in range(150)], [title, plot])
    cursor = await stored(database, index, whole)
    assert cursor.next
    assert await read(database, cursor.next) == Ranking(
        keys[100:], [None] * 50, [1 / (60 + i) for i in range(100, 150)], [title[100:], plot[100:]]
    )


async def test_a_ranking_that_is_read_lasts_as_long_as_the_next_token(
    database: Database, index: Index, rows: Rows
) -> None:
    cursor = await stored(database, index, ranking(101))
    for left, lasts in (("11 minutes", "11 minutes"), ("9 minutes", "20 minutes"), ("1 second", "20 minutes")):
        rows(f"UPDATE s3_vectors.query_rankings SET expiry = now() + interval '{left}' RETURNING id")
        assert await is_there(database, cursor)
        [(lasting,)] = rows(
            f"SELECT expiry - now() BETWEEN interval '{lasts}' - interval '1 minute' AND interval '{lasts}'"
            " FROM s3_vectors.query_rankings"
        )
        assert lasting, left


async def test_what_has_expired_is_gone_and_forgotten_in_the_background(
    database: Database, index: Index, rows: Rows
) -> None:
    expired, kept = await stored(database, index, ranking(101)), await stored(database, index, ranking(101))
    rows(
        "INSERT INTO s3_vectors.query_rankings (vector_index_id, user_id, bytes, expiry)"
        f" SELECT {index.id}, 'bob', 1, now() - interval '1 minute' FROM generate_series(1, 450) RETURNING id"
    )
    rows(f"UPDATE s3_vectors.query_rankings SET expiry = now() WHERE id = {expired.ranking_id} RETURNING id")
    with pytest.raises(ValidationException, match="Invalid nextToken") as refused:
        await read(database, expired)
    assert [field.path for field in refused.value.field_list] == ["nextToken"]
    assert await is_there(database, kept)
    await Deletion(database).drop_deleted()
    assert rows("SELECT id FROM s3_vectors.query_rankings") == [(kept.ranking_id,)]
    assert rows("SELECT DISTINCT query_ranking_id FROM s3_vectors.query_ranking_pages") == [(kept.ranking_id,)]


async def test_rankings_go_with_their_index(library: Library, database: Database, index: Index, rows: Rows) -> None:
    other = await library.create_index(2, name="other")
    cursor, kept = await stored(database, index, ranking(101)), await stored(database, other, ranking(101))
    rows(f"UPDATE s3_vectors.vector_indexes SET deletion_time = now() WHERE id = {index.id} RETURNING id")
    with pytest.raises(NotFoundException):
        await stored(database, index, ranking(101))
    await Deletion(database).drop_deleted()
    assert not await is_there(database, cursor)
    assert await is_there(database, kept)


@pytest.mark.parametrize(
    ("number", "size", "kept"),
    [
        pytest.param(MAX_RANKINGS_OF_ONE - 1, 1, MAX_RANKINGS_OF_ONE - 1, id="as many as may be"),
        pytest.param(MAX_RANKINGS_OF_ONE, 1, MAX_RANKINGS_OF_ONE - 1, id="one too many"),
        pytest.param(MAX_RANKINGS_OF_ONE + 50, 1, MAX_RANKINGS_OF_ONE - 1, id="many too many"),
        pytest.param(20, MAX_RANKING_BYTES_OF_ONE // 10, 9, id="too large together"),
        pytest.param(1, MAX_RANKING_BYTES_OF_ONE, 0, id="too large"),
    ],
)
async def test_what_a_user_keeps_is_bounded_and_the_oldest_goes(
    database: Database, index: Index, rows: Rows, number: int, size: int, kept: int
) -> None:
    others = await stored(database, index, ranking(101), "bob")
    rows(
        "INSERT INTO s3_vectors.query_rankings (vector_index_id, user_id, bytes, expiry)"
        f" SELECT {index.id}, 'ana', {size}, now() + interval '10 minutes' + i * interval '1 ms'"
        f" FROM generate_series(1, {number}) i RETURNING id"
    )
    newest = await stored(database, index, ranking(101))
    assert await is_there(database, others)
    assert await is_there(database, newest)
    before = rows(
        f"SELECT count(*), min(id) FROM s3_vectors.query_rankings WHERE user_id = 'ana' AND id <> {newest.ranking_id}"
    )
    assert before == [(kept, others.ranking_id + 1 + number - kept if kept else None)]


async def test_who_asks_much_at_once_is_bounded_too(database: Database, index: Index, rows: Rows) -> None:
    """Nobody waits for another who deletes the same, so that a few more may be kept for a moment."""
    rows(
        "INSERT INTO s3_vectors.query_rankings (vector_index_id, user_id, bytes, expiry)"
        f" SELECT {index.id}, 'ana', 1, now() + interval '10 minutes' FROM generate_series(1, {MAX_RANKINGS_OF_ONE})"
        " RETURNING id"
    )
    cursors = await asyncio.gather(*(stored(database, index, ranking(150)) for _ in range(40)))
    assert all([await is_there(database, cursor) for cursor in cursors])
    last = await stored(database, index, ranking(150))
    assert await is_there(database, last)
    assert rows("SELECT count(*) FROM s3_vectors.query_rankings") == [(MAX_RANKINGS_OF_ONE,)]


async def test_the_size_is_that_of_what_is_kept(database: Database, index: Index, rows: Rows) -> None:
    await stored(database, index, ranking(10_000, UNUSUAL))
    [(said, kept)] = rows(
        "SELECT max(bytes), sum(octet_length(ranking::text))"
        " FROM s3_vectors.query_rankings JOIN s3_vectors.query_ranking_pages ON query_ranking_id = id"
    )
    assert said == kept


def test_the_end_of_a_ranking_leads_nowhere() -> None:
    assert Cursor(1, 0, 3).next == Cursor(1, 1, 3)
    assert Cursor(1, 2, 3).next is None
