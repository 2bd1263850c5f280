"""Queries for more than a page where there are graphs, and what they cost."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from app.database.catalog import Index
from app.database.engine import Database
from app.database.nearest import Search, nearest, nearest_by
from app.database.query_pages import Page, first_page, next_page
from app.database.selectivity import Selectivity
from app.database.statements import Statement
from app.database.strategy import Approximate, Exact, choose
from app.database.vector_table import delete
from tests.database.conftest import Library, Rows
from tests.database.test_nearest import Vectors, clustered, distances, searching, store

NUMBER = 6_000
VECTORS = clustered(NUMBER, 8)


class Wrong(Selectivity):
    """An estimate may be wrong by any factor: here, everything is said to match."""

    async def matches(self, *_: object) -> int:
        return 10**9


@pytest.fixture
async def index(library: Library, database: Database) -> Index:
    index = await library.create_index(8)
    await store(database, index, VECTORS)
    return index


@pytest.fixture
async def walked(library: Library, index: Index) -> Index:
    """With a graph that is large enough to be walked for some hundred vectors."""
    return await library.build_graph(index)


async def all_pages(database: Database, search: Search) -> AsyncIterator[Page]:
    async with database.connection() as connection:
        page = await first_page(connection, search, "ana", Selectivity())
        yield page
        while page.next:
            page = await next_page(connection, search, page.next)
            yield page


def nearest_keys(query: Vectors, number: int) -> list[str]:
    return [f"k{i:05}" for i in np.argsort(distances(VECTORS, query, "cosine"))[:number]]


@pytest.mark.parametrize(("top_k", "strategy"), [(113, Approximate), (10_000, Exact)])
async def test_pages_of_both_strategies_hold_the_nearest_in_order(
    database: Database, walked: Index, top_k: int, strategy: type
) -> None:
    assert isinstance(choose(walked.graphs, None, top_k, 0.98), strategy)
    search = searching(walked, VECTORS[7], top_k)
    pages = [page async for page in all_pages(database, search)]
    found = [row for page in pages for row in page.rows]
    wanted = nearest_keys(VECTORS[7], top_k)
    assert len({row.key for row in found}) == len(found) == len(wanted)
    assert len({row.key for row in found} & set(wanted)) >= 0.98 * len(wanted)
    assert [row.distance for row in found] == sorted(row.distance for row in found)
    assert {len(page.rows) for page in pages[:-1]} == {100}


async def test_a_walk_goes_on_behind_its_first_candidates(database: Database, walked: Index) -> None:
    async with database.connection() as connection:
        for top_k in (600, 1_500, 3_000):
            search = searching(walked, VECTORS[7], top_k)
            found = await nearest_by(connection, search, Approximate(1_000, iterative=True))
            assert len(found) == top_k
            assert len({row.key for row in found} & set(nearest_keys(VECTORS[7], top_k))) >= 0.98 * top_k


async def test_no_filter_loses_rows_whatever_is_estimated(database: Database, walked: Index) -> None:
    async with database.connection() as connection:
        for matches in (0, 1, 100, 101, 149, 150, 151, 5_900):
            search = searching(walked, VECTORS[7], 150, {"n": {"$lt": matches}})
            assert len(await nearest(connection, search, Wrong())) == min(150, matches)


async def test_what_was_deleted_in_the_graph_is_made_up_for(database: Database, walked: Index) -> None:
    near = nearest_keys(VECTORS[7], NUMBER - 120)
    async with database.connection() as connection:
        await delete(connection, walked, near)
        found = await nearest(connection, searching(walked, VECTORS[7], 150), Selectivity())
    assert len(found) == 120


async def test_a_session_that_went_far_does_not_for_the_next(database: Database, walked: Index) -> None:
    far, near = searching(walked, VECTORS[7], 150), searching(walked, VECTORS[7], 10)
    async with database.connection() as connection:

        async def reach() -> list[Any]:
            names = ("hnsw.max_scan_tuples", "hnsw.scan_mem_multiplier")
            return [(await connection.run(Statement(f"SHOW {name}", {})))[0][0] for name in names]

        await nearest_by(connection, near, Approximate(40))
        began_with = await reach()
        await nearest_by(connection, far, Approximate(1_000, iterative=True))
        assert await reach() == ["100000", "8"]
        await nearest_by(connection, near, Approximate(40))
        assert await reach() == began_with == ["20000", "1"]


@pytest.mark.parametrize("document", [None, {"n": {"$lt": 5_000}}], ids=["all", "filtered"])
async def test_only_a_query_for_more_than_a_page_writes(
    database: Database, index: Index, rows: Rows, document: Any
) -> None:
    async with database.connection() as connection:
        few = searching(index, VECTORS[7], 101, {"n": {"$lt": 100}})
        page = await first_page(connection, few, "ana", Selectivity())
        assert (len(page.rows), page.next) == (100, None)
        assert rows("SELECT count(*) FROM s3_vectors.query_rankings") == [(0,)]
        page = await first_page(connection, searching(index, VECTORS[7], 101, document), "ana", Selectivity())
    assert page.next
    assert rows("SELECT count(*) FROM s3_vectors.query_rankings") == [(1,)]
    assert rows("SELECT number FROM s3_vectors.query_ranking_pages ORDER BY 1") == [(0,), (1,)]


async def test_all_values_of_top_k_prepare_few_statements(database: Database, index: Index) -> None:
    async with database.connection() as connection:
        search = searching(index, VECTORS[7], 101)
        for top_k in range(1_700, 2_000, 10):
            assert len(await nearest_by(connection, replace(search, top_k=top_k), Exact("by the test"))) == top_k
        prepared = Statement("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%LIMIT%%'", {})
        [(number,)] = await connection.run(prepared, prepare=False)
    assert number <= 2
