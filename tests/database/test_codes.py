"""Searches through codes: the nearest of a long tail, without a graph."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.database import code_catalog
from app.database.catalog import Index
from app.database.code_growth import Add, Begin
from app.database.codes import BLOCK, planes_of, thresholds_of, usable
from app.database.coding import coder_connection, take
from app.database.engine import Database
from app.database.graphs import HALFVEC_MAX
from app.database.nearest import Search, approximate, nearest, nearest_by
from app.database.selectivity import Selectivity
from app.database.strategy import Approximate
from app.database.vector_table import delete
from app.shapes import DistanceMetric
from tests.database.conftest import Library, Rows
from tests.database.test_nearest import Vectors, clustered, distances, explained, searching, store

CANDIDATES = Approximate(40, iterative=True, candidates=100)


async def code(library: Library, index: Index, first: int, end: int) -> Index:
    """The index, the vectors of these positions being those that have codes."""
    async with await coder_connection(library.database.url) as connection:
        await take(connection, index, Begin(first, end, end))
    return await library.find_index(index.arn)


async def found(database: Database, search: Search, strategy: Approximate = CANDIDATES) -> dict[str, float]:
    async with database.connection() as connection:
        return {row.key: row.distance for row in await nearest_by(connection, search, strategy)}


def nearest_keys(vectors: Vectors, query: Vectors, metric: str, number: int) -> set[str]:
    return {f"k{i:05}" for i in np.argsort(distances(vectors, query, metric))[:number]}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dimension", [128, 384, 1_537, 3_840, 4_096])
async def test_the_nearest_are_found_by_codes_and_measured_exactly(
    library: Library, database: Database, dimension: int, metric: str
) -> None:
    index, vectors = await library.create_index(dimension, metric), clustered(900, dimension)
    await store(database, index, vectors)
    index = await code(library, index, 0, 801)
    right = 0
    for query in (3, 400, 799, 850):
        search = searching(index, vectors[query], 10)
        answer, expected = await found(database, search), distances(vectors, vectors[query], metric)
        assert next(iter(answer)) == f"k{query:05}"
        assert list(answer.values()) == sorted(answer.values())
        for key, distance in answer.items():
            assert distance == pytest.approx(expected[int(key[1:])], rel=1e-5, abs=1e-5)
        right += len(set(answer) & nearest_keys(vectors, vectors[query], metric, 10))
    assert right >= 38


@pytest.mark.parametrize(
    ("dimension", "cosine", "euclidean"),
    [(128, 8, 8), (384, 3, 5), (768, 2, 3), (1_536, 2, 2), (3_840, 2, 2), (3_841, 1, 1), (4_096, 1, 1)],
)
def test_a_code_has_the_bits_that_it_needs_and_eight_fit_a_page(dimension: int, cosine: int, euclidean: int) -> None:
    assert planes_of(dimension, DistanceMetric.COSINE) == cosine
    assert planes_of(dimension, DistanceMetric.EUCLIDEAN) == euclidean
    assert BLOCK * euclidean * dimension // 8 < 8_000


async def test_codes_are_read_and_no_more_vectors_than_they_choose(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(128), clustered(2_000, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 2_001)
    search = searching(index, vectors[0], 10)
    plan = await explained(database, approximate(search, 100), search)
    assert "Seq Scan on codes_" in plan
    assert "Seq Scan on index_" not in plan
    assert "Parallel" not in plan


@given(
    st.lists(st.lists(st.sampled_from([-2.0, -0.5, -0.0, 0.0, 1e-30, 0.25, 3.0]), min_size=3, max_size=3), min_size=2),
    st.integers(1, 8),
)
@settings(max_examples=50)
def test_thresholds_lie_around_the_mean_in_equal_steps(values: list[list[float]], planes: int) -> None:
    vectors = np.array(values, np.float32)
    thresholds = thresholds_of(vectors, planes)
    assert thresholds.shape == (planes, 3)
    assert thresholds.mean(axis=0) == pytest.approx(vectors.mean(axis=0, dtype=np.float64), abs=1e-5)
    assert (np.diff(thresholds, axis=0) >= 0).all()


async def test_a_code_says_of_each_component_which_thresholds_it_is_above(
    library: Library, database: Database, rows: Rows
) -> None:
    index, vectors = await library.create_index(128, "euclidean"), clustered(50, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 51)
    planes = planes_of(128, DistanceMetric.EUCLIDEAN)
    thresholds = thresholds_of(vectors, planes)
    stored: dict[int, str] = {}
    columns = ", ".join(f"code_{i}::text" for i in range(1, BLOCK + 1))
    for row in rows(f"SELECT positions, {columns} FROM vectors.codes_{index.id}_1"):
        positions, *codes = row
        assert isinstance(positions, list)
        stored |= {position: str(text) for position, text in zip(positions, codes, strict=False)}
    assert sorted(stored) == list(range(1, 51))
    for position, text in stored.items():
        above = (vectors[position - 1] > thresholds).reshape(-1)
        assert text == "".join("1" if bit else "0" for bit in above)


async def test_the_last_block_may_be_short_and_more_is_added_behind_it(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(128), clustered(300, 128)
    await store(database, index, vectors[:101])
    index = await code(library, index, 0, 102)
    await store(database, index, vectors[101:], 101)
    async with await coder_connection(database.url) as connection:
        await take(connection, index, Add(203))
    grown = await library.find_index(index.arn)
    assert (usable(grown).end, usable(grown).number) == (203, 202)  # type: ignore[union-attr]
    for i in range(300):
        for known in (index, grown):  # one worker may still know what another has seen change
            answer = await found(database, searching(known, vectors[i], 3))
            assert next(iter(answer)) == f"k{i:05}"
            assert len(answer) == 3


async def test_what_was_replaced_or_deleted_is_found_where_it_is_now_or_nowhere(
    library: Library, database: Database
) -> None:
    index, vectors = await library.create_index(128), clustered(300, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 301)
    moved = np.concatenate([vectors[150:], vectors[:150]])
    await store(database, index, moved[:100])
    async with database.connection() as connection:
        await delete(connection, index, [f"k{i:05}" for i in range(100, 120)])
    there = np.concatenate([moved[:100], vectors[120:]])
    for query in (vectors[0], vectors[110], vectors[150], vectors[299]):
        answer = await found(database, searching(index, query, 5))
        expected = np.sort(distances(there, query, "cosine"))[:5].tolist()
        assert list(answer.values()) == pytest.approx(expected, rel=1e-4, abs=1e-5)


async def test_the_newest_of_vectors_that_are_put_again_and_again_is_found(
    library: Library, database: Database
) -> None:
    """More codes than candidates are as near, and all but one of them lead nowhere."""
    index, vectors = await library.create_index(128), clustered(50, 128)
    await store(database, index, vectors)
    for _ in range(40):
        await store(database, index, vectors[:10])
    async with await coder_connection(database.url) as connection:
        await take(connection, index, Begin(0, 20, 20))
        for position in range(40, 441, 100):
            index = await library.find_index(index.arn)
            await take(connection, index, Add(position))
    index = await library.find_index(index.arn)
    few = replace(CANDIDATES, candidates=20)
    for i in range(10):
        answer = await found(database, searching(index, vectors[i], 1), few)
        assert set(answer) == {f"k{i:05}"}


async def test_positions_that_absorbed_vectors_share_come_once(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(128), clustered(200, 128)
    await store(database, index, vectors)
    async with database.connection() as connection:
        await connection.execute(f"UPDATE vectors.index_{index.id} SET position = 100 WHERE position > 50".encode())
    index = await code(library, index, 0, 201)
    answer = await found(database, searching(index, vectors[150], 100))
    async with database.connection() as connection:
        rows = await nearest_by(connection, searching(index, vectors[150], 100), CANDIDATES)
    assert len(rows) == len(answer) == 100
    assert len(set(answer) & nearest_keys(vectors, vectors[150], "cosine", 50)) >= 45


async def test_a_graph_takes_the_place_of_codes_at_once(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(128), clustered(400, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 301)
    part = await library.build_graph(index, 0, 201)
    codes = usable(part)
    assert codes is not None
    assert (codes.first, codes.end) == (201, 301)
    for i in (0, 199, 200, 201, 299, 300, 301, 399):
        answer = await found(database, searching(part, vectors[i], 30))
        assert len(answer) == 30
        assert next(iter(answer)) == f"k{i:05}"
    assert usable(await library.build_graph(part, 0, 401)) is None


async def test_between_a_graph_and_the_codes_nothing_is_lost(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(128), clustered(300, 128)
    await store(database, index, vectors)
    index = await library.build_graph(index, 0, 101)
    index = await code(library, index, 201, 251)
    for i in range(0, 300, 7):
        answer = await found(database, searching(index, vectors[i], 5))
        assert next(iter(answer)) == f"k{i:05}"


@pytest.mark.parametrize("matches", [0, 1, 9, 10, 11, 390, 400])
async def test_filters_lose_no_rows_by_codes(library: Library, database: Database, matches: int) -> None:
    index, vectors = await library.create_index(128), clustered(400, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 401)
    answer = await found(database, searching(index, vectors[0], 10, {"n": {"$lt": matches}}))
    assert set(answer) == nearest_keys(vectors[:matches], vectors[0], "cosine", 10)


@pytest.mark.parametrize("document", [None, {"n": {"$gte": 0}}], ids=["unfiltered", "filtered"])
async def test_without_a_graph_codes_are_chosen(library: Library, database: Database, document: Any) -> None:
    class Estimate(Selectivity):
        async def matches(self, *_: object) -> int:
            return 3_000

    index, vectors = await library.create_index(128), clustered(3_000, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 3_001)
    search = searching(index, vectors[1], 10, document)
    async with database.connection() as connection:
        by_code = await nearest(connection, search, Estimate())
    assert {row.key for row in by_code} == nearest_keys(vectors, vectors[1], "cosine", 10)


async def test_where_more_than_a_page_is_wanted_all_are_measured(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(128), clustered(300, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 301)
    assert (searching(index, vectors[0], 100).coded, searching(index, vectors[0], 101).coded) == (300, 0)


async def test_vectors_that_are_too_large_are_found_beside_codes(library: Library, database: Database) -> None:
    index = await library.create_index(128, "euclidean")
    vectors = np.concatenate([clustered(50, 128), clustered(50, 128, 1e6), clustered(2, 128, 3e36)])
    await store(database, index, vectors)
    index = await code(library, index, 0, 103)
    assert np.linalg.norm(vectors[60]) > HALFVEC_MAX
    for query in (vectors[10], np.full(128, 5_500, np.float32)):
        answer = await found(database, searching(index, query, 60))
        expected = np.minimum(distances(vectors, query, "euclidean"), 3.4028234663852886e38)
        assert list(answer.values()) == pytest.approx(np.sort(expected)[:60].tolist(), rel=1e-5)


async def test_numbers_at_the_ends_of_float32_have_codes(library: Library, database: Database) -> None:
    index = await library.create_index(128)
    vectors = clustered(40, 128)
    vectors[:10] *= np.float32(1e37)
    vectors[10:20] *= np.float32(1e-37)
    vectors[20:25, :64] = np.float32(1e-42)
    await store(database, index, vectors)
    index = await code(library, index, 0, 41)
    for i in range(40):
        assert len(await found(database, searching(index, vectors[i], 5))) == 5


async def test_codes_that_are_gone_are_no_reason_to_lose_rows(library: Library, database: Database) -> None:
    """A search that knows retired codes has time enough, since they are kept for longer than any request."""
    index, vectors = await library.create_index(128), clustered(60, 128)
    await store(database, index, vectors)
    index = await code(library, index, 0, 61)
    async with await coder_connection(database.url) as connection:
        await code_catalog.retire(connection, index)
        await code_catalog.drop_forgotten(connection)
    assert usable(await library.find_index(index.arn)) is None
    assert len(await found(database, searching(index, vectors[0], 10))) == 10
