"""What the command line says of an index whose long tail has codes."""

from collections.abc import Callable, Iterator

import pytest

from app.database.code_growth import Begin
from app.database.coding import coder_connection, take
from tests.cli.indexes import Indexes, indexes_at, store
from tests.database.conftest import Library

VECTORS = 2_000


async def make(library: Library) -> None:
    movies = await library.create_index(128, name="movies")
    await store(library, movies, VECTORS)
    async with await coder_connection(library.database.url) as coder:
        for end in (1_001, 1_901):
            await take(coder, movies, Begin(0, end, end))


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        yield indexes


def test_status_shows_codes_and_those_that_they_have_replaced(indexes: Indexes) -> None:
    document = indexes.command.json("index", "status", "media/movies")
    assert (document["tail"], document["graphs"]) == (VECTORS, [])
    assert [
        (c["state"], c["first_position"], c["end_position"], c["codes"], c["planes"]) for c in document["codes"]
    ] == [
        ("retired", 0, 1_001, 1_000, 8),
        ("ready", 0, 1_901, 1_900, 8),
    ]
    assert all(codes["bytes"] > codes["codes"] * 128 for codes in document["codes"])
    _, codes = indexes.command("index", "status", "media/movies").split("\nCodes\n")
    retired, ready = codes.splitlines()[1:3]
    assert retired.startswith("0 to 1000")
    assert retired.rstrip().endswith("replaced: dropped when no search can know them any more")
    assert ready.startswith("0 to 1900")
    assert ready.rstrip().endswith("ready")


def test_explain_shows_how_they_are_used(indexes: Indexes) -> None:
    document = indexes.command.json("explain", "media/movies")
    assert (document["graphs"], document["tail"], document["coded"]) == (0, VECTORS, 1_900)
    assert document["strategy"] == "approximate, with 120 candidates by their codes"
    assert "codes_1_2" in document["sql"]
    plain = indexes.command("explain", "media/movies", "--analyze")
    assert "Seq Scan on codes_1_2" in plain


def test_recall_is_measured_of_them(indexes: Indexes) -> None:
    document = indexes.command.json("recall", "media/movies")
    assert document["in_force"]["recall"] >= 0.95
    assert document["tail"] == VECTORS
