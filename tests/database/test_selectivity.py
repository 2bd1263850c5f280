from typing import Any

import pytest
from msgspec.structs import replace
from pgvector import Vector

from app.database.catalog import Graph, Index
from app.database.engine import Database
from app.database.graphs import FINAL_EF_CONSTRUCTION
from app.database.range_indexes import USES, RangeUse
from app.database.selectivity import MAX_VALUES, Selectivity, sample
from app.database.vector_table import StoredVector, upsert
from app.filters.nodes import And, In, NotIn, Or
from app.filters.parse import parse_filter
from tests.database.conftest import Library, Rows

NUMBER = 2_000
TAGS = ["t0", "t1"]
MANY = tuple(range(MAX_VALUES * 4))
SOME = MANY[::4]


@pytest.fixture
async def index(library: Library, database: Database) -> Index:
    """Of vectors of 200 genres, a tenth of which is old."""
    index = await library.create_index(1)
    metadata = [
        f'{{"genre": {i % 200}, "tags": ["t{i % 2}"], "old": {str(i % 10 == 0).lower()}}}' for i in range(NUMBER)
    ]
    async with database.connection() as connection:
        vectors = [StoredVector(f"k{i:04}", Vector([1]), document, "{}") for i, document in enumerate(metadata)]
        await upsert(connection, index, vectors)
        await connection.execute(f"ANALYZE vectors.index_{index.id}".encode())
    return index


async def matches(database: Database, index: Index, document: Any, selectivity: Selectivity | None = None) -> int:
    async with database.connection() as connection:
        return await (selectivity or Selectivity()).matches(connection, index, parse_filter(document, ()))


async def noted(database: Database, index: Index, document: Any, range_use: RangeUse) -> None:
    selectivity = Selectivity(range_use)
    found = await matches(database, index, document, selectivity)
    selectivity.note(index, parse_filter(document, ()), found)


@pytest.mark.parametrize(
    ("document", "share"),
    [
        ({"old": True}, 0.1),
        ({"tags": "t1"}, 0.5),
        ({"genre": {"$lt": 40}}, 0.2),
        ({"genre": {"$in": list(range(100))}}, 0.5),
        ({"$and": [{"old": True}, {"genre": {"$in": [i * 10 for i in range(20)]}}]}, 0.1),
        ({"$or": [{"tags": "t1"}, {"genre": {"$gte": 0}}]}, 1.0),
        ({"genre": {"$ne": "x"}}, 1.0),
        ({"absent": 1}, 0.0),
    ],
    ids=str,
)
async def test_estimates(database: Database, index: Index, document: Any, share: float) -> None:
    assert await matches(database, index, document) == pytest.approx(share * NUMBER, abs=NUMBER / 10)


async def test_what_has_been_estimated_is_kept(
    database: Database, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    selectivity = Selectivity()
    old = await matches(database, index, {"old": True}, selectivity)
    monkeypatch.setattr("app.database.selectivity.explain", None)
    assert await matches(database, index, {"$and": [{"old": True}]}, selectivity) == old
    with pytest.raises(TypeError):  # 1 is not true
        await matches(database, index, {"old": 1}, selectivity)


async def test_what_is_kept_is_bounded(database: Database, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.database.selectivity.MAX_KEPT", 3)
    selectivity = Selectivity()
    for number in range(8):
        await matches(database, index, {"genre": number}, selectivity)
        assert len(selectivity._kept) <= 3  # noqa: SLF001 - what must not grow


async def test_without_an_estimate_nothing_matches_and_the_connection_stays(database: Database, index: Index) -> None:
    selectivity = Selectivity()
    async with database.connection() as connection:
        await connection.execute(f"ALTER TABLE vectors.index_{index.id} RENAME TO away".encode())
        assert await selectivity.matches(connection, index, In("tags", ("t1",))) == 0
        await connection.execute(f"ALTER TABLE vectors.away RENAME TO index_{index.id}".encode())
        assert await selectivity.matches(connection, index, In("tags", ("t1",))) > 0


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"$and": [{"genre": {"$lt": 150}}, {"tags": {"$in": TAGS}}]}, [("tags", "string")]),
        ({"$and": [{"genre": {"$in": list(range(95))}}, {"tags": "t1"}]}, []),
        ({"genre": {"$lt": 150}}, []),
        ({"tags": {"$in": TAGS}}, []),
        ({"$or": [{"genre": {"$lt": 150}}, {"tags": "t1"}]}, []),
        ({"genre": {"$in": list(range(10))}}, []),
        ({"genre": {"$ne": 1}}, []),
    ],
    ids=str,
)
async def test_indexes_that_would_answer_are_wanted_for_filters_of_many_rows(
    database: Database, index: Index, rows: Rows, document: Any, wanted: list[tuple[str, str]]
) -> None:
    range_use = RangeUse()
    index = replace(index, graphs=(Graph(1, 0, NUMBER + 1, FINAL_EF_CONSTRUCTION, NUMBER),))
    for _ in range(USES):
        await noted(database, index, document, range_use)
    async with database.connection() as connection:
        await range_use.write(connection)
    assert rows("SELECT key, value_type FROM s3_vectors.range_indexes ORDER BY key") == wanted


async def test_values_of_most_rows_are_found_through_the_graph(database: Database, index: Index, rows: Rows) -> None:
    index = replace(index, graphs=(Graph(1, 0, 101, FINAL_EF_CONSTRUCTION, 100),))
    range_use = RangeUse()
    for _ in range(USES):
        await noted(database, index, {"tags": "t1"}, range_use)
    async with database.connection() as connection:
        await range_use.write(connection)
    assert rows("SELECT key FROM s3_vectors.range_indexes") == []


def test_long_lists_are_sampled() -> None:
    assert sample(In("a", MANY)) == (In("a", SOME), 4.0)
    assert sample(NotIn("a", MANY)) == (NotIn("a", SOME), 1.0)
    assert sample(And((In("a", MANY), Or((In("b", (1,)), In("c", SOME)))))) == (
        And((In("a", SOME), Or((In("b", (1,)), In("c", SOME))))),
        4.0,
    )
    alternatives = tuple(In(str(value), (value,)) for value in MANY)
    assert sample(Or(alternatives)) == (Or(alternatives[::4]), 4.0)
    assert sample(And(alternatives)) == (And(alternatives[::4]), 1.0)
    for number in range(1, 200):
        chosen, factor = sample(In("a", MANY[:number]))
        assert isinstance(chosen, In)
        assert len(chosen.values) <= MAX_VALUES
        assert len(chosen.values) * factor == pytest.approx(min(number, len(MANY)))
