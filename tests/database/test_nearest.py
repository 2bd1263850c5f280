import math

import numpy as np
import numpy.typing as npt
import pytest
from pgvector import Vector

from app.database.catalog import Index
from app.database.engine import Database
from app.database.nearest import EXACT_UP_TO_ROWS, Search, nearest
from app.database.vector_table import StoredVector, delete, table_of, upsert
from app.filters.compile import compile_filter
from app.filters.parse import parse_filter
from tests.database.conftest import Library

Vectors = npt.NDArray[np.float32]


def clustered(number: int, dimension: int, scale: float = 1.0) -> Vectors:
    generator = np.random.default_rng(7)
    centres = generator.normal(size=(20, dimension))
    points = centres[generator.integers(0, 20, number)] + 0.3 * generator.normal(size=(number, dimension))
    return (points * scale).astype(np.float32)


async def store(database: Database, index: Index, vectors: Vectors) -> None:
    async with database.transaction() as connection:
        records = [StoredVector(f"k{i:05}", Vector(v), f'{{"n": {i}}}', "{}") for i, v in enumerate(vectors)]
        await upsert(connection, index, records)


def distances(vectors: Vectors, query: Vectors, metric: str) -> npt.NDArray[np.float64]:
    points, point = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "euclidean":
        return np.asarray(((points - point) ** 2).sum(axis=1))
    return np.asarray(1 - points @ point / np.linalg.norm(points, axis=1) / np.linalg.norm(point))


LARGE = EXACT_UP_TO_ROWS + 1
SMALL = -1


async def found(database: Database, search: Search) -> dict[str, float]:
    async with database.transaction() as connection:
        return {row.key: row.distance for row in await nearest(connection, search)}


@pytest.mark.parametrize("approximate", [False, True], ids=["exact", "approximate"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dimension", [8, 2001, 4096])
async def test_the_nearest_come_in_order_with_float32_distances(
    library: Library, database: Database, *, dimension: int, metric: str, approximate: bool
) -> None:
    index, vectors = await library.create_index(dimension, metric), clustered(200, dimension)
    await store(database, index, vectors)
    search = Search(index, LARGE if approximate else SMALL, vectors[3], 10, None, return_metadata=False)
    assert search.approximate is approximate
    answer = await found(database, search)
    expected = distances(vectors, vectors[3], metric)
    wanted = [f"k{i:05}" for i in np.argsort(expected)[:10]]
    assert len(set(wanted) & set(answer)) >= 9
    assert list(answer.values()) == sorted(answer.values())
    for key, distance in answer.items():
        assert distance == pytest.approx(expected[int(key[1:])], rel=1e-5, abs=1e-5)


async def test_what_hnsw_leaves_short_is_completed(library: Library, database: Database) -> None:
    """Deleted vectors stay in the graph until vacuum, and may be all that it finds."""
    index, vectors = await library.create_index(8), clustered(400, 8)
    await store(database, index, vectors)
    near = np.argsort(distances(vectors, vectors[0], "cosine"))[:395]
    async with database.transaction() as connection:
        await delete(connection, index, [f"k{i:05}" for i in near])
    answer = await found(database, Search(index, LARGE, vectors[0], 100, None, return_metadata=False))
    assert len(answer) == 5


@pytest.mark.parametrize("matches", [0, 1, 9, 10, 11, 400])
async def test_filters_never_lose_rows(library: Library, database: Database, matches: int) -> None:
    index, vectors = await library.create_index(8), clustered(400, 8)
    await store(database, index, vectors)
    condition = compile_filter(parse_filter({"n": {"$lt": matches}}, ()), table_of(index).c.metadata)
    answer = await found(database, Search(index, LARGE, vectors[0], 10, condition, return_metadata=True))
    expected = distances(vectors, vectors[0], "cosine")[:matches]
    assert set(answer) == {f"k{i:05}" for i in np.argsort(expected)[:10]}


async def test_vectors_too_large_for_halfvec_are_found(library: Library, database: Database) -> None:
    index = await library.create_index(2001, "euclidean")
    vectors = np.concatenate([clustered(50, 2001), clustered(50, 2001, 1e6)])
    await store(database, index, vectors)
    for query in (vectors[10], vectors[60], np.full(2001, 1400, np.float32)):
        answer = await found(database, Search(index, LARGE, query, 60, None, return_metadata=False))
        expected = distances(vectors, query, "euclidean")
        assert set(answer) == {f"k{i:05}" for i in np.argsort(expected)[:60]}


async def test_cosines_beyond_float32_norms_are_right(library: Library, database: Database) -> None:
    index = await library.create_index(2)
    huge = np.array([[3e38, 3e38], [3e38, 0], [1e-30, 1e-30]], np.float32)
    await store(database, index, huge)
    answer = await found(
        database, Search(index, SMALL, np.array([1e30, 1e30], np.float32), 3, None, return_metadata=False)
    )
    assert answer == {
        "k00000": pytest.approx(0, abs=1e-6),
        "k00002": pytest.approx(0, abs=1e-6),
        "k00001": pytest.approx(1 - 1 / math.sqrt(2), abs=1e-6),
    }
