import numpy as np
import pytest
from pgvector import Vector

from app.database.engine import Database
from app.database.recall import NARROW, Measured, Recall, ladder, most_searches, recall_of, target_for
from app.database.strategy import MAX_EF_SEARCH, ef_search
from app.database.vector_table import StoredVector, upsert
from tests.database.conftest import Library
from tests.database.test_nearest import clustered, searching, store


@pytest.mark.parametrize(
    ("in_force", "expected"),
    [
        (160, [80, 160, 200, 240, 320, 480, 1000]),
        (40, [40, 50, 60, 80, 120, 1000]),
        (1000, [500, 1000]),
    ],
)
def test_values_around_the_one_in_force_are_tried(in_force: int, expected: list[int]) -> None:
    assert ladder(in_force) == expected


async def test_recall_grows_with_ef_search_to_one(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(32), clustered(2_000, 32)
    await store(database, index, vectors)
    index = await library.build_graph(index)
    searches = [searching(index, vector, 10) for vector in vectors[:50]]
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1

    async with database.connection() as connection:
        recall = await recall_of(connection, searches, 160, 0.98, advance)
    assert recall.in_force in recall.measured
    assert [m.ef_search for m in recall.measured] == sorted(m.ef_search for m in recall.measured)
    assert 0.9 < recall.in_force.recall <= recall.measured[-1].recall == 1
    assert 0 < done <= most_searches(50, 160)


async def test_vectors_at_the_same_distance_are_equally_right(library: Library, database: Database) -> None:
    index = await library.create_index(4)
    same = [StoredVector(f"k{i:04}", Vector([1, 2, 3, 4]), "{}", "{}") for i in range(500)]
    async with database.connection() as connection:
        await upsert(connection, index, same)
    index = await library.build_graph(index)
    async with database.connection() as connection:
        searches = [searching(index, np.array([1, 2, 3, 4.5], dtype=np.float32), 10)]
        recall = await recall_of(connection, searches, 40, 0.98, lambda: None)
    assert {m.recall for m in recall.measured} == {1.0}


async def test_filters_that_nothing_matches_have_nothing_to_miss(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(8), clustered(100, 8)
    await store(database, index, vectors)
    index = await library.build_graph(index)
    async with database.connection() as connection:
        recall = await recall_of(connection, [searching(index, vectors[0], 10, {"n": -1})], 40, 0.98, lambda: None)
    assert recall.in_force.recall == 1


async def test_the_gap_to_what_reaches_the_target_is_narrowed(library: Library, database: Database) -> None:
    """Noise in 200 dimensions is hard for any graph."""
    generator = np.random.default_rng(3)
    index, vectors = await library.create_index(200), generator.normal(size=(2_500, 200)).astype(np.float32)
    await store(database, index, vectors)
    index = await library.build_graph(index)
    queries = generator.normal(size=(20, 200)).astype(np.float32)
    async with database.connection() as connection:
        searches = [searching(index, query, 10) for query in queries]
        recall = await recall_of(connection, searches, 40, 0.995, lambda: None)
    assert recall.misses(0.995)
    more = recall.more(0.995)
    assert more
    less = max(m.ef_search for m in recall.measured if m.ef_search < more.ef_search)
    assert more.ef_search <= less * NARROW or len(recall.measured) == len(ladder(40)) + 4


def test_chance_is_not_a_miss() -> None:
    measured = [Measured(160, 0.97, 0.02, 1.0), Measured(240, 0.99, 0.01, 1.0)]
    recall = Recall(70.0, measured[0], measured)
    assert not recall.misses(0.98)
    assert recall.misses(0.995)
    assert recall.more(0.98) == measured[1]
    assert recall.more(0.995) is None


async def test_the_smallest_target_with_that_ef_search(library: Library, database: Database) -> None:
    index, vectors = await library.create_index(8), clustered(50, 8)
    await store(database, index, vectors)
    search = searching(await library.build_graph(index), vectors[0], 10)
    for wanted in (40, 41, 160, 161, 700, MAX_EF_SEARCH):
        target = target_for(search, None, wanted)
        assert target is not None
        assert ef_search(10, target) >= wanted
        assert target == 0.5 or ef_search(10, round(target - 0.001, 3)) < wanted
    assert target_for(searching(index, vectors[0], 10), None, 40) is None
