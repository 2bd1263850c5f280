import numpy as np

from app.database.engine import Database
from app.monitoring.recall_sampling import ENOUGH, SEARCHES, RecallSampling
from app.settings import Settings
from tests.database.conftest import Library
from tests.database.test_nearest import clustered, store
from tests.monitoring.figures import collected

ROUNDS = -(-ENOUGH // SEARCHES)


def sampling(database: Database, *, seconds: int = 100_000, per_index: bool = False) -> RecallSampling:
    settings = Settings(recall_sampling_seconds=seconds, metrics_per_index=per_index, recall_target=0.5)
    return RecallSampling(database, settings)


async def test_indexes_without_graphs_have_nothing_to_miss(library: Library, database: Database) -> None:
    await store(database, await library.create_index(8), clustered(100, 8))
    recall = sampling(database)
    await recall.round()
    assert not collected(recall).has("recall")
    assert collected(recall)("recall_samples_total") == 0


async def test_recall_is_estimated_of_each_index_and_of_all(library: Library, database: Database) -> None:
    """Graphs know halfvec only, to which numbers between 1,000.0 and 1,000.2 are all the same."""
    alike = np.random.default_rng(3).uniform(1_000, 1_000.2, size=(500, 8)).astype(np.float32)
    for name, vectors in (("clusters", clustered(500, 8)), ("alike", alike)):
        index = await library.create_index(8, "euclidean", name)
        await store(database, index, vectors)
        await library.build_graph(index)
    recall = sampling(database, per_index=True)
    for _ in range(ROUNDS):
        assert not collected(recall).has("recall")
        await recall.round()
    figures = collected(recall)
    clusters, hard = (figures("one_index_recall", index=name) for name in ("clusters", "alike"))
    assert hard < 0.5
    assert 0.95 < clusters <= 1
    assert figures("recall") == (clusters + hard) / 2
    assert figures("recall_lowest") == hard
    assert figures("recall_samples_total") == 2 * ROUNDS * SEARCHES


async def test_a_round_without_time_is_of_one_index_and_the_next_of_another(
    library: Library, database: Database
) -> None:
    for name in ("movies", "books", "songs"):
        index = await library.create_index(8, name=name)
        await store(database, index, clustered(100, 8))
        await library.build_graph(index)
    recall = sampling(database, seconds=0, per_index=True)
    for rounds in range(1, 3 * ROUNDS + 1):
        await recall.round()
        assert collected(recall)("recall_samples_total") == rounds * SEARCHES
    assert collected(recall).labels["index"] == {"movies", "books", "songs"}


async def test_an_index_that_is_gone_is_forgotten(library: Library, database: Database) -> None:
    index = await library.create_index(8)
    await store(database, index, clustered(100, 8))
    await library.build_graph(index)
    recall = sampling(database)
    for _ in range(ROUNDS):
        await recall.round()
    assert collected(recall).has("recall")
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE s3_vectors.vector_indexes SET deletion_time = now()")
    await recall.round()
    assert not collected(recall).has("recall")
