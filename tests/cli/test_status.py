import re
from collections.abc import Callable, Iterator

import pytest

from tests.cli.indexes import Indexes, indexes_at, store
from tests.cli.test_iam import HOME, TENANT
from tests.database.conftest import BUCKET, Library


async def make(library: Library) -> None:
    movies = await library.create_index(8, name="movies")
    await store(library, movies, 300)
    await library.build_graph(movies, 0, 201)
    await library.create_index(4, "euclidean", name="planes")
    await library.create_bucket(type(BUCKET)(BUCKET.account, "empty"))


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        indexes.command("iam", "account", "create", TENANT)
        indexes.sql("""UPDATE s3_vectors.vector_buckets SET policy = '{}' WHERE vector_bucket_name = 'empty'""")
        indexes.sql("VACUUM ANALYZE vectors.index_1")
        yield indexes


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_buckets_and_their_indexes_are_shown(indexes: Indexes) -> None:
    summary, buckets, rows = indexes.command("status").split("\n\n")
    assert [cells(line) for line in summary.splitlines()][:5] == [
        ["account", HOME],
        ["buckets", "2"],
        ["indexes", "2"],
        ["estimated vectors", "300"],
        ["server", "none is running on this database"],
    ]
    assert re.fullmatch(r"database +\d+ .iB, of all accounts", summary.splitlines()[5])
    title, heading, *lines = buckets.splitlines()
    assert (title, cells(heading)[:3]) == ("Buckets", ["bucket", "indexes", "estimated vectors"])
    assert [cells(line)[:3] + cells(line)[-3:] for line in lines] == [
        ["empty", "0", "0", "ENHANCED", "AES256", "yes"],
        ["media", "2", "300", "ENHANCED", "AES256", "no"],
    ]
    title, heading, *lines = rows.splitlines()
    assert (title, cells(heading)[:3]) == ("Indexes", ["index", "dimension", "distance metric"])
    assert [cells(line)[:6] + cells(line)[-1:] for line in lines] == [
        ["media/movies", "8", "cosine", "300", "100", "ready", "ENHANCED"],
        ["media/planes", "4", "euclidean", "0", "0", "none: small", "ENHANCED"],
    ]


def test_programs_read_json(indexes: Indexes) -> None:
    told = indexes.command.json("status")
    assert (told["account"], told["server_is_running"], told["database_bytes"] > 0) == (HOME, False, True)
    assert [(b["bucket"], b["default_index_mode"], b["encryption"], b["has_policy"]) for b in told["buckets"]] == [
        ("empty", "ENHANCED", "AES256", True),
        ("media", "ENHANCED", "AES256", False),
    ]
    movies, planes = told["buckets"][1]["indexes"]
    assert (movies["index"], movies["estimated_vectors"], movies["tail"]) == ("media/movies", 300, 100)
    assert (planes["dimension"], planes["distance_metric"], planes["index_mode"]) == (4, "euclidean", "ENHANCED")


def test_one_bucket_is_shown_alone(indexes: Indexes) -> None:
    assert [bucket["bucket"] for bucket in indexes.command.json("status", "media")["buckets"]] == ["media"]


def test_of_an_account_without_buckets_there_is_little_to_show(indexes: Indexes) -> None:
    assert indexes.command.json("status", "--account", TENANT)["buckets"] == []
    assert "Buckets" not in indexes.command("status", "--account", TENANT)


def test_a_bucket_that_is_not_there_is_refused(indexes: Indexes) -> None:
    assert indexes.command.refusal("status", "nope") == f"There is no bucket nope in account {HOME}."
