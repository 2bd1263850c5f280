import pytest

from app.database.engine import Database
from app.database.sampling import sample
from tests.database.conftest import Library
from tests.database.test_nearest import clustered, store


@pytest.mark.parametrize("number", [1, 7, 100, 1000])
async def test_a_sample_is_as_large_as_it_can_be_and_has_nothing_twice(
    library: Library, database: Database, number: int
) -> None:
    index, vectors = await library.create_index(8), clustered(100, 8)
    await store(database, index, vectors)
    async with database.connection() as connection:
        found = await sample(connection, index, number, seed=1)
    assert len(found) == min(number, 100)
    for key, vector in found.items():
        assert (vector.to_numpy() == vectors[int(key[1:])]).all()


async def test_a_seed_always_chooses_the_same(library: Library, database: Database) -> None:
    index = await library.create_index(8)
    await store(database, index, clustered(500, 8))
    async with database.connection() as connection:
        samples = {seed: list(await sample(connection, index, 20, seed)) for seed in range(30)}
        assert samples == {seed: list(await sample(connection, index, 20, seed)) for seed in range(30)}
    assert len({tuple(keys) for keys in samples.values()}) > 10
    assert len({key for keys in samples.values() for key in keys}) > 250


async def test_nothing_is_chosen_from_nothing(library: Library, database: Database) -> None:
    index = await library.create_index(8)
    async with database.connection() as connection:
        assert await sample(connection, index, 5, seed=0) == {}
