"""The inverted index and the ranking over it, held against BM25 in Python over the texts that are stored."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import sqlalchemy as sa
from pgvector import Vector

from app.database import text_searches, vector_table
from app.database.catalog import Index
from app.database.engine import Database
from app.database.text_ranking import Order, TextQuery, TextRanking, best_texts
from app.database.vector_table import StoredVector, stored_vector
from app.filters.parse import parse_filter
from app.full_text import bm25
from app.full_text.analyzer import Language, count_terms
from app.full_text.searchable_key import SearchableKey
from tests.database.conftest import Library, Rows
from tests.filters.reference import matches

SENTENCE = "real time strategy game of ancient warfare library development files for python modules image viewer"
WORDS = SENTENCE.split()
ORDERS: tuple[Order, ...] = ("matches first", "texts first")


def texts(number: int, seed: int) -> dict[str, dict[str, Any]]:
    """Metadata by key; some without a text, some with several, some with nothing in it to be found."""
    chance = random.Random(seed)  # noqa: S311 - texts that are the same each time

    def text() -> str:
        return " ".join(chance.choices(WORDS, weights=range(1, len(WORDS) + 1), k=chance.randrange(1, 30)))

    kinds: dict[str, Callable[[], Any]] = {
        "text": text,
        "list": lambda: [text(), text()],
        "number": lambda: 5,
        "empty": lambda: "… of for",
    }
    metadata: dict[str, dict[str, Any]] = {}
    for i in range(number):
        kind = chance.choices([*kinds, "none"], weights=[20, 2, 1, 1, 2])[0]
        metadata[f"k{i:04}"] = {"n": i % 10} | ({} if kind == "none" else {"title": kinds[kind]()})
        if i % 3 == 0:
            metadata[f"k{i:04}"]["body"] = text()
    return metadata


async def searchable(library: Library, *keys: str, language: Language | None = "en", state: str = "active") -> Index:
    index = await library.create_index(2)
    async with library.database.transaction() as connection:
        await text_searches.add(connection, index, [SearchableKey(key, language) for key in keys], state)
    return await library.find_index(index.arn)


def stored(index: Index, key: str, metadata: dict[str, Any]) -> StoredVector:
    return stored_vector(index, key, Vector(np.ones(2)), (metadata, {}), None)


async def put(database: Database, index: Index, metadata: dict[str, dict[str, Any]]) -> None:
    vectors = [stored(index, key, metadata[key]) for key in sorted(metadata)]
    async with database.connection() as connection:
        await vector_table.upsert(connection, index, vectors)


async def delete(database: Database, index: Index, keys: Sequence[str]) -> None:
    async with database.connection() as connection:
        await vector_table.delete(connection, index, keys)


async def ranked(database: Database, ranking: TextRanking) -> list[tuple[str, float]]:
    async with database.connection() as connection:
        return [(row.key, row.score) for row in await best_texts(connection, ranking)]


def queries(index: Index, **asked: str) -> list[TextQuery]:
    by_key = {search.metadata_key: search for search in index.text_searches}
    return [TextQuery(by_key[key], count_terms([text], by_key[key].language)) for key, text in asked.items()]


def expected(metadata: dict[str, dict[str, Any]], limit: int, **asked: str) -> list[tuple[str, float]]:
    scores: Counter[str] = Counter()
    for name, text in asked.items():
        documents = {key: document for key, m in metadata.items() if (document := terms_of(m.get(name)))}
        average = sum(d.total() for d in documents.values()) / max(1, len(documents))
        query = count_terms([text], "en")
        weights = {t: bm25.weight(len(documents), sum(t in d for d in documents.values())) for t in query}
        for key, document in documents.items():
            if score := bm25.score(query, document, weights, document.total() / average):
                scores[key] += score  # type: ignore[assignment]
    best = sorted(((key, float(np.float32(score))) for key, score in scores.items()), key=lambda s: (-s[1], s[0]))
    return best[:limit]


def terms_of(value: Any) -> Counter[str]:
    return count_terms(
        [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)], "en"
    )


def assert_same(found: list[tuple[str, float]], wanted: list[tuple[str, float]]) -> None:
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1e-5)
    assert [key for key, _ in found] == [key for key, _ in wanted]


@pytest.mark.parametrize(
    "asked", ["game", "strategy games", "python python module", "library", "unheard-of words", "of"]
)
async def test_scores_and_order_are_those_of_bm25(library: Library, asked: str) -> None:
    index = await searchable(library, "title")
    metadata = texts(400, seed=1)
    await put(library.database, index, metadata)
    found = await ranked(library.database, TextRanking(index, queries(index, title=asked), 10))
    assert_same(found, expected(metadata, 10, title=asked))


async def test_they_still_are_after_any_puts_upserts_and_deletes(library: Library, rows: Rows) -> None:
    index = await searchable(library, "title", "body")
    metadata = texts(300, seed=2)
    await put(library.database, index, metadata)
    changed = dict(list(texts(400, seed=3).items())[100:])
    await put(library.database, index, changed)
    deleted = [*list(metadata)[::7], "k9999"]
    await delete(library.database, index, deleted)
    metadata = {key: m for key, m in (metadata | changed).items() if key not in deleted}
    asked = {"title": "library files", "body": "ancient warfare"}
    found = await ranked(library.database, TextRanking(index, queries(index, **asked), 500))
    assert_same(found, expected(metadata, 500, **asked))
    for search in index.text_searches:
        assert_tidy(rows, index, search.id)


def assert_tidy(rows: Rows, index: Index, search_id: int) -> None:
    """Documents, postings and statistics say the same, of vectors that are there."""
    documents = f"vectors.text_{search_id}"
    [(posted, wanted)] = rows(
        f"SELECT (SELECT coalesce(jsonb_object_agg(term || ' ' || document, frequency), '{{}}')"
        f" FROM vectors.postings_{search_id}), (SELECT coalesce(jsonb_object_agg(term || ' ' || document, times::int),"
        f" '{{}}') FROM {documents}, jsonb_each_text(frequencies) AS f (term, times))"
    )
    assert posted == wanted
    assert rows(f"SELECT count(*) FROM {documents} LEFT JOIN vectors.index_{index.id} v USING (key)"
                " WHERE v.key IS NULL") == [(0,)]  # fmt: skip
    told = "SELECT coalesce(sum(documents), 0), coalesce(sum(length), 0) FROM s3_vectors.text_statistics"
    assert rows(f"{told} WHERE text_search_configuration_id = {search_id}") == rows(
        f"SELECT count(*), coalesce(sum(length), 0) FROM {documents}"
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "filter", [{"n": 3}, {"n": {"$gte": 0}}, {"n": 99}, {"$or": [{"n": 1}, {"body": "x"}]}], ids=str
)
async def test_a_filter_leaves_scores_as_they_are(library: Library, order: Order, filter: Any) -> None:  # noqa: A002
    index = await searchable(library, "title")
    metadata = texts(400, seed=4)
    await put(library.database, index, metadata)
    ranking = TextRanking(index, queries(index, title="strategy game"), 10, parse_filter(filter, ()), order)
    everything = expected(metadata, 1000, title="strategy game")
    matching = [scored for scored in everything if matches(filter, metadata[scored[0]])]
    assert_same(await ranked(library.database, ranking), matching[:10])


@pytest.mark.parametrize("asked", [{"title": "library files"}, {"title": "library files", "body": "warfare"}], ids=str)
@pytest.mark.parametrize("filter", [None, {"n": {"$lt": 5}}], ids=str)
@pytest.mark.parametrize("order", ORDERS)
async def test_vectors_that_share_a_position_are_told_apart(
    library: Library,
    asked: dict[str, str],
    filter: Any,  # noqa: A002
    order: Order,
) -> None:
    """As absorbed ones do."""
    index = await searchable(library, "title", "body")
    metadata = texts(200, seed=9)
    await put(library.database, index, metadata)
    async with library.database.transaction() as connection:
        await connection.execute(sa.text(f"UPDATE vectors.index_{index.id} SET position = 7"))
    node = None if filter is None else parse_filter(filter, ())
    found = await ranked(library.database, TextRanking(index, queries(index, **asked), 20, node, order))
    wanted = expected(metadata, 1000, **asked)
    assert_same(found, [s for s in wanted if filter is None or matches(filter, metadata[s[0]])][:20])


async def test_equal_scores_are_in_the_order_of_keys_however_many_there_are(library: Library) -> None:
    index = await searchable(library, "title")
    await put(library.database, index, {f"k{i:03}": {"title": "game"} for i in reversed(range(50))})
    found = await ranked(library.database, TextRanking(index, queries(index, title="game"), 3))
    assert [key for key, _ in found] == ["k000", "k001", "k002"]


async def test_writers_of_the_same_keys_leave_one_document_of_each(library: Library, rows: Rows) -> None:
    index = await searchable(library, "title")
    metadata = texts(60, seed=5)
    again = texts(60, seed=6)
    await asyncio.gather(
        *(put(library.database, index, m) for m in (metadata, again, metadata, again)),
        *(delete(library.database, index, list(metadata)[::5]) for _ in range(3)),
    )
    assert_tidy(rows, index, index.text_searches[0].id)
    await put(library.database, index, metadata)
    found = await ranked(library.database, TextRanking(index, queries(index, title="library files"), 100))
    assert_same(found, expected(metadata, 100, title="library files"))


async def test_who_writes_without_knowing_that_a_key_is_searchable_writes_nothing(library: Library, rows: Rows) -> None:
    before = await library.create_index(2)
    async with library.database.transaction() as connection:
        await text_searches.add(connection, before, [SearchableKey("title", None)], "building")
    with pytest.raises(vector_table.Outdated):
        await put(library.database, before, {"k": {"title": "game"}})
    with pytest.raises(vector_table.Outdated):
        await delete(library.database, before, ["k"])
    assert rows(f"SELECT count(*) FROM vectors.index_{before.id}") == [(0,)]


async def test_who_is_cancelled_while_the_connection_breaks_is_cancelled_all_the_same(database: Database) -> None:
    async def break_down() -> None:
        async with database.connection() as connection, connection.transaction_or_part():
            connection.pgconn.finish()
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await break_down()


async def test_terms_are_as_hostile_as_users_are(library: Library) -> None:
    index = await searchable(library, "title", language=None)
    hostile = ["a'b", '"quoted"', "%s %(a)s", "\\", "ключ", "x" * 600, "{}", "$filter$", "😀"]
    metadata = {f"k{i}": {"title": f"{text} game"} for i, text in enumerate(hostile)}
    await put(library.database, index, cast("Any", json.loads(json.dumps(metadata))))
    for key, m in metadata.items():
        found = await ranked(library.database, TextRanking(index, queries(index, title=m["title"]), 1))
        if any(term != "game" for term in count_terms([m["title"]], None)):
            assert [k for k, _ in found] == [key]
