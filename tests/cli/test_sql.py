from collections.abc import Callable, Iterator

import pytest

from tests.cli.indexes import Indexes, indexes_at, store
from tests.cli.test_iam import HOME, TENANT
from tests.database.conftest import Library


async def make(library: Library) -> None:
    await store(library, await library.create_index(8, name="movies"), 30)
    await store(library, await library.create_index(8, name="hidden"), 5)


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        yield indexes


def test_an_index_is_the_view_in_psql(indexes: Indexes) -> None:
    told = indexes.command("sql", "media/movies", "-At", stdin="SELECT count(*) FROM :view; SELECT :'view';")
    assert told == '30\n"media"."movies"\n'


def test_a_bucket_has_its_views_without_their_schema(indexes: Indexes) -> None:
    assert indexes.command("sql", "media", "-Atc", "SELECT count(*) FROM movies") == "30\n"


def test_without_a_name_all_arguments_are_those_of_psql(indexes: Indexes) -> None:
    told = indexes.command("sql", "-At", "-v", "ON_ERROR_STOP=1", "-c", "SELECT current_database()")
    assert told == f"{indexes.url.partition('?')[0].rpartition('/')[2]}\n"


def test_the_exit_code_is_that_of_psql(indexes: Indexes) -> None:
    done = indexes.command.run("sql", "media/movies", "-c", "SELEC")
    assert done.returncode == 1
    assert done.stderr.startswith('ERROR:  syntax error at or near "SELEC"')


def test_an_index_without_a_view_is_its_table(indexes: Indexes) -> None:
    indexes.sql("UPDATE s3_vectors.vector_buckets SET schema_name = NULL")
    try:
        told = indexes.command("sql", "media/hidden", "-At", stdin="SELECT :'view', count(*) FROM :view;")
    finally:
        indexes.sql("UPDATE s3_vectors.vector_buckets SET schema_name = 'media'")
    assert told == '"vectors"."index_2"|5\n'


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nope"], f"There is no bucket nope in account {HOME}."),
        (["media/nope"], f"There is no index media/nope in account {HOME}."),
        (["nope/movies"], f"There is no index nope/movies in account {HOME}."),
        (["media/it's"], f"There is no index media/it's in account {HOME}."),
        (["--account", TENANT, "media"], f"There is no bucket media in account {TENANT}."),
    ],
)
def test_what_is_not_there_is_told_in_one_line(indexes: Indexes, arguments: list[str], reason: str) -> None:
    assert indexes.command.refusal("sql", *arguments) == reason


def test_the_password_is_not_among_the_arguments_of_psql(indexes: Indexes) -> None:
    [(password,)] = [(indexes.url.partition("://")[2].partition("@")[0].partition(":")[2],)]
    assert password
    told = indexes.command("sql", "-At", "-c", r"\! tr '\0' ' ' < /proc/$PPID/cmdline")
    assert "--dbname" in told
    assert password not in told
