import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.structs import replace
from pgvector import Vector

from app.database.catalog import Index
from app.database.engine import Database
from app.database.graphs import graph_name
from app.database.nearest import Search, approximate, asked_for, exact, nearest, nearest_by
from app.database.selectivity import Selectivity
from app.database.statements import Statement
from app.database.strategy import Exact
from app.database.vector_table import StoredVector, delete, upsert
from app.filters.nodes import RangeKey
from app.filters.parse import parse_filter
from app.limits import MAX_QUERY_PAGE, MAX_TOP_K
from tests.database.conftest import Library

Vectors = npt.NDArray[np.float32]


def clustered(number: int, dimension: int, scale: float = 1.0) -> Vectors:
    generator = np.random.default_rng(7)
    centres = generator.normal(size=(20, dimension))
    points = centres[generator.integers(0, 20, number)] + 0.3 * generator.normal(size=(number, dimension))
    return (points * scale).astype(np.float32)


async def store(database: Database, index: Index, vectors: Vectors, first: int = 0) -> None:
    async with database.connection() as connection:
        records = [StoredVector(f"k{i:05}", Vector(v), f'{{"n": {i}}}', "{}") for i, v in enumerate(vectors, first)]
        await upsert(connection, index, records)


def distances(vectors: Vectors, query: Vectors, metric: str) -> npt.NDArray[np.float64]:
    points, point = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "euclidean":
        return np.asarray(((points - point) ** 2).sum(axis=1))
    return np.asarray(1 - points @ point / np.linalg.norm(points, axis=1) / np.linalg.norm(point))


def searching(index: Index, vector: Vectors, top_k: int, document: Any = None) -> Search:
    node = None if document is None else parse_filter(document, ())
    return Search(index, Vector(vector), top_k, node, return_metadata=True, recall_target=0.98)


async def found(database: Database, search: Search) -> dict[str, float]:
    async with database.connection() as connection:
        return {row.key: row.distance for row in await nearest(connection, search, Selectivity())}


async def explained(database: Database, statement: Statement, search: Search) -> str:
    async with database.connection() as connection:
        explain = Statement(f"EXPLAIN {statement.text}", statement.values)
        return "\n".join(row[0] for row in await connection.run(explain, search.query, prepare=False))


@pytest.mark.parametrize(
    ("top_k", "asked"),
    [(1, 1), (99, 99), (100, 100), (101, 112), (112, 112), (113, 128), (129, 160), (1_000, 1_024), (10_000, 10_240)],
)
def test_statements_of_many_rows_ask_for_a_round_number(top_k: int, asked: int) -> None:
    assert asked_for(top_k) == asked


def test_so_there_are_few_texts_of_statements() -> None:
    assert len({asked_for(top_k) for top_k in range(MAX_QUERY_PAGE + 1, MAX_TOP_K + 1)}) == 27
    assert all(top_k <= asked_for(top_k) <= top_k * 1.25 for top_k in range(1, MAX_TOP_K + 1))


@pytest.mark.parametrize("approximate", [False, True], ids=["exact", "approximate"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dimension", [8, 2001, 4096])
async def test_the_nearest_come_in_order_with_float32_distances(
    library: Library, database: Database, *, dimension: int, metric: str, approximate: bool
) -> None:
    index, vectors = await library.create_index(dimension, metric), clustered(200, dimension)
    await store(database, index, vectors)
    if approximate:
        index = await library.build_graph(index)
    answer = await found(database, searching(index, vectors[3], 10))
    expected = distances(vectors, vectors[3], metric)
    wanted = [f"k{i:05}" for i in np.argsort(expected)[:10]]
    assert len(set(wanted) & set(answer)) >= 9
    assert list(answer.values()) == sorted(answer.values())
    for key, distance in answer.items():
        assert distance == pytest.approx(expected[int(key[1:])], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dimension", [8, 2001, 4096])
@pytest.mark.parametrize("filtered", [False, True])
async def test_every_graph_is_walked(
    library: Library, database: Database, dimension: int, metric: str, *, filtered: bool
) -> None:
    """The planner takes it, however small the table is, because it is asked with the operator of its operand."""
    index, vectors = await library.create_index(dimension, metric), clustered(120, dimension)
    await store(database, index, vectors)
    await library.build_graph(index, 0, 61)
    index = await library.build_graph(index, 61, 101)
    search = searching(index, vectors[0], 10, {"n": {"$gte": 1}} if filtered else None)
    plan = await explained(database, approximate(search), search)
    for graph in index.graphs:
        assert f"Index Scan using {graph_name(index.id, graph.id)}" in plan
    assert "hnsw" not in await explained(database, exact(search), search)


async def test_graphs_gaps_and_the_tail_are_one_answer(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(8), clustered(500, 8)
    await store(database, index, vectors[:400])
    await library.build_graph(index, 100, 200)
    index = await library.build_graph(index, 300, 401)
    await store(database, index, vectors[400:], 400)
    for query in (vectors[50], vectors[150], vectors[250], vectors[350], vectors[450]):
        answer = await found(database, searching(index, query, 30))
        assert set(answer) == {f"k{i:05}" for i in np.argsort(distances(vectors, query, "cosine"))[:30]}


async def test_a_replaced_vector_is_where_it_is_now_and_nowhere_else(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(8), clustered(300, 8)
    await store(database, index, vectors)
    index = await library.build_graph(index)
    moved = np.concatenate([vectors[150:], vectors[:150]])
    await store(database, index, moved[:100])
    current = np.concatenate([moved[:100], vectors[100:]])
    for query in (vectors[0], vectors[150], vectors[299]):
        answer = await found(database, searching(index, query, 20))
        expected = np.sort(distances(current, query, "cosine"))[:20]
        assert list(answer.values()) == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)


async def test_what_graphs_leave_short_is_completed(library: Library, database: Database) -> None:
    """Deleted vectors stay in the graph until vacuum, and may be all that it finds."""
    index, vectors = await library.create_index(8), clustered(400, 8)
    await store(database, index, vectors)
    index = await library.build_graph(index)
    near = np.argsort(distances(vectors, vectors[0], "cosine"))[:395]
    async with database.connection() as connection:
        await delete(connection, index, [f"k{i:05}" for i in near])
    answer = await found(database, searching(index, vectors[0], 100))
    assert len(answer) == 5


@pytest.mark.parametrize("built", [False, True], ids=["exact", "with a graph"])
@pytest.mark.parametrize("matches", [0, 1, 9, 10, 11, 390, 400])
async def test_filters_never_lose_rows(library: Library, database: Database, matches: int, *, built: bool) -> None:
    index, vectors = await library.create_index(8), clustered(400, 8)
    await store(database, index, vectors)
    if built:
        index = await library.build_graph(index)
    answer = await found(database, searching(index, vectors[0], 10, {"n": {"$lt": matches}}))
    expected = distances(vectors, vectors[0], "cosine")[:matches]
    assert set(answer) == {f"k{i:05}" for i in np.argsort(expected)[:10]}


@pytest.mark.parametrize(
    "document",
    [
        {"n": {"$gte": 150, "$lt": 170}},
        {"n": {"$in": list(range(150, 170))}},
        {"$and": [{"n": {"$lt": 180}}, {"genre": {"$in": ["g1", "g2"]}}]},
        {"$and": [{"n": {"$lt": 180}}, {"genre": {"$exists": True}}, {"genre": "g1"}]},
    ],
    ids=str,
)
async def test_what_range_indexes_answer_is_the_same(library: Library, database: Database, document: Any) -> None:
    """Every third vector has lists, which an index does not know; they are found beside, and none twice."""
    index, vectors = await library.create_index(8), clustered(400, 8)
    metadata = [
        {"n": i, "genre": f"g{i % 4}"} if i % 3 else {"n": [i, i + 1], "genre": ["g1", "x"]} for i in range(400)
    ]
    async with database.connection() as connection:
        stored = [
            StoredVector(f"k{i:05}", Vector(vectors[i]), json.dumps(metadata[i]), '{"t": 1}')
            for i in range(len(vectors))
        ]
        await upsert(connection, index, stored)
    ranged = replace(index, ranged_keys=frozenset({RangeKey("n", "number"), RangeKey("genre", "string")}))
    search = searching(ranged, vectors[0], 10, document)
    async with database.connection() as connection:
        parts, whole = [await nearest_by(connection, search, Exact("", many=many)) for many in (True, False)]
    assert exact(search, many=True) != exact(search)
    assert [(row.key, row.distance) for row in parts] == [(row.key, row.distance) for row in whole]
    assert len(parts) == 10


@pytest.mark.parametrize("matches", [0, 1, 9, 10, 11, 390, 400])
async def test_filters_lose_no_rows_on_the_way_through_a_graph_either(
    library: Library, database: Database, matches: int
) -> None:
    """An estimate may be wrong by any factor: here, everything is said to match."""

    class Wrong(Selectivity):
        async def matches(self, *_: object) -> int:
            return 10**9

    index, vectors = await library.create_index(8), clustered(400, 8)
    await store(database, index, vectors)
    index = await library.build_graph(index)
    search = searching(index, vectors[0], 10, {"n": {"$lt": matches}})
    async with database.connection() as connection:
        rows = await nearest(connection, search, Wrong())
    expected = distances(vectors, vectors[0], "cosine")[:matches]
    assert {row.key for row in rows} == {f"k{i:05}" for i in np.argsort(expected)[:10]}


async def test_vectors_too_large_for_halfvec_are_found(library: Library, database: Database) -> None:
    index = await library.create_index(2001, "euclidean")
    vectors = np.concatenate([clustered(50, 2001), clustered(50, 2001, 1e6)])
    await store(database, index, vectors)
    index = await library.build_graph(index)
    for query in (vectors[10], vectors[60], np.full(2001, 1400, np.float32)):
        answer = await found(database, searching(index, query, 60))
        expected = distances(vectors, query, "euclidean")
        assert set(answer) == {f"k{i:05}" for i in np.argsort(expected)[:60]}


async def test_cosines_beyond_float32_norms_are_right(library: Library, database: Database) -> None:
    index = await library.create_index(2)
    huge = np.array([[3e38, 3e38], [3e38, 0], [1e-30, 1e-30]], np.float32)
    await store(database, index, huge)
    answer = await found(database, searching(index, np.array([1e30, 1e30], np.float32), 3))
    assert answer == {
        "k00000": pytest.approx(0, abs=1e-6),
        "k00002": pytest.approx(0, abs=1e-6),
        "k00001": pytest.approx(1 - 1 / math.sqrt(2), abs=1e-6),
    }
