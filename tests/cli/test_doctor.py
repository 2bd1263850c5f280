import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psycopg
import pytest

from app.database.diagnosis import contents, server
from app.database.diagnosis.finding import Finding, State
from app.database.graph_building import LOCK
from tests.cli.indexes import Indexes, indexes_at, store
from tests.cli.test_iam import Command
from tests.conftest import named, open_directory
from tests.database.conftest import Library


async def make(library: Library) -> None:
    movies = await library.create_index(8, name="movies")
    await store(library, movies, 100)
    await library.build_graph(movies)


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        indexes.command("index", "status")  # makes the key-encryption key
        yield indexes


@pytest.fixture
def connection(indexes: Indexes) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(indexes.url, autocommit=True)) as connection:
        yield connection


def findings(indexes: Indexes, **settings: str) -> dict[str, Any]:
    done = Command(**indexes.command.settings | settings).run("doctor", "--json")
    assert done.stderr == ""
    found = msgspec.json.decode(done.stdout)
    assert done.returncode == int(any(finding["state"] == "error" for finding in found))
    return {finding["what"]: finding for finding in found}


def test_a_database_of_our_own_is_in_order() -> None:
    with open_directory() as directory:
        command = Command(DATA_DIR=str(directory / "data"), LOG_LEVEL="error")
        done = command.run("doctor")
        assert done.returncode == 1
        assert done.stdout.splitlines()[1].split(maxsplit=2)[:2] == ["error", "database"]
        assert f"there is none in {directory / 'data'}" in done.stdout
        assert not (directory / "data" / "pgdata").exists()
        command("status")
        told = command.json("doctor")
        (directory / "data" / "key-encryption-key").chmod(0o644)
        [warning] = [finding for finding in command.json("doctor") if finding["state"] != "ok"]
    assert {finding["state"] for finding in told} == {"ok"}
    assert [finding["what"] for finding in told] == [
        *("database", "PostgreSQL", "pgvector", "migrations", "privileges"),
        *("fsync", "full_page_writes", "synchronous_commit", "data_checksums"),
        *("shared_buffers", "maintenance_work_mem", "huge_pages", "max_connections"),
        *("autovacuum", "transactions", "clock"),
        *("builds", "invalid indexes", "text searches", "key-encryption key", "disk"),
    ]
    assert warning["found"] == f"others may read {directory / 'data' / 'key-encryption-key'}"


def test_what_the_tests_do_to_be_fast_is_an_error(indexes: Indexes) -> None:
    """And that they are superusers."""
    found = findings(indexes)
    wrong = {what: (finding["state"], finding["found"]) for what, finding in found.items() if finding["state"] != "ok"}
    assert wrong == {"fsync": ("error", "off"), "privileges": ("warning", "pgs3vectors is a superuser")}
    assert found["fsync"]["change"] == "Turn it on: after a crash, the database may be corrupt."
    text = indexes.command.run("doctor").stdout
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("error")] == [["error", "fsync", "off"]]


@pytest.mark.parametrize(
    ("setting", "what", "state", "found"),
    [
        ("synchronous_commit = off", "synchronous_commit", "warning", "off"),
        ("maintenance_work_mem = '64kB'", "maintenance_work_mem", "warning", "0 MiB; the largest graph needs some"),
    ],
)
def test_settings_of_the_database_are_looked_at(
    indexes: Indexes, setting: str, what: str, state: str, found: str
) -> None:
    [(database,)] = indexes.sql("SELECT current_database()")
    indexes.sql("ANALYZE vectors.index_1")
    indexes.sql(f"ALTER DATABASE {database} SET {setting}")
    try:
        told = findings(indexes)[what]
    finally:
        indexes.sql(f"ALTER DATABASE {database} RESET ALL")
    assert (told["state"], told["found"][: len(found)]) == (state, found)


def test_more_connections_than_there_are_is_an_error(indexes: Indexes) -> None:
    told = findings(indexes, WORKERS="20", POOL_SIZE="8")["max_connections"]
    assert (told["state"], told["found"]) == (
        "error",
        "97 for everybody; 20 workers with pools of 8 take up to 200",
    )
    assert told["change"] == "Raise max_connections to 203 or more, or lower PGS3VECTORS_POOL_SIZE."


@pytest.mark.parametrize(
    ("revision", "state", "found"),
    [("0003", "warning", "0003, where "), ("9999", "error", "9999, of a newer version of pgs3vectors")],
)
def test_migrations_are_held_against_the_newest(indexes: Indexes, revision: str, state: str, found: str) -> None:
    [(head,)] = indexes.sql("SELECT version_num FROM s3_vectors.alembic_version")
    indexes.sql(f"UPDATE s3_vectors.alembic_version SET version_num = '{revision}'")
    try:
        told = findings(indexes)["migrations"]
    finally:
        indexes.sql(f"UPDATE s3_vectors.alembic_version SET version_num = '{head}'")
    assert (told["state"], told["found"][: len(found)]) == (state, found)


def test_an_empty_database_is_told(postgres: str, indexes: Indexes) -> None:
    indexes.sql("CREATE DATABASE test_of_doctor")
    try:
        found = findings(indexes, DATABASE_URL=named(postgres, "test_of_doctor"))
    finally:
        indexes.sql("DROP DATABASE test_of_doctor WITH (FORCE)")
    assert (found["migrations"]["state"], found["migrations"]["found"]) == ("warning", "none")
    assert found["pgvector"]["found"].endswith(", not installed in this database")
    assert "key-encryption key" not in found


def test_a_role_that_may_too_little_is_an_error(indexes: Indexes) -> None:
    indexes.sql("CREATE ROLE test_doctor LOGIN PASSWORD 'p'")
    indexes.sql("GRANT USAGE ON SCHEMA public, s3_vectors TO test_doctor")
    indexes.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA s3_vectors TO test_doctor")
    indexes.sql("REVOKE DELETE ON s3_vectors.accounts FROM test_doctor")
    user = indexes.url.partition("://")[2].partition("@")[0]
    try:
        told = findings(indexes, DATABASE_URL=indexes.url.replace(user, "test_doctor:p", 1))["privileges"]
    finally:
        indexes.sql("DROP OWNED BY test_doctor")
        indexes.sql("DROP ROLE test_doctor")
    assert (told["state"], told["found"]) == (
        "error",
        "test_doctor lacks USAGE on schema vectors, CREATE on schema vectors, "
        "DELETE on accounts in schema s3_vectors, ownership of 1 tables in schema vectors",
    )


def test_builds_that_failed_and_what_they_left_are_told(indexes: Indexes) -> None:
    indexes.sql(
        "INSERT INTO s3_vectors.range_indexes (vector_index_id, key, state, attempts, error)"
        " VALUES (1, 'year', 'failed', 3, '53100: disk full')"
    )
    indexes.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'vectors.hnsw_1_1'::regclass")
    try:
        found = findings(indexes)
    finally:
        indexes.sql("DELETE FROM s3_vectors.range_indexes")
        indexes.sql("UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'vectors.hnsw_1_1'::regclass")
    assert (found["builds"]["state"], found["builds"]["found"]) == (
        "warning",
        "the range index of year of media/movies has failed 3 times: 53100: disk full",
    )
    assert found["invalid indexes"]["found"] == "vectors.hnsw_1_1 is left of a build that was interrupted"
    assert found["invalid indexes"]["change"].endswith("DROP INDEX CONCURRENTLY vectors.hnsw_1_1;")


@pytest.fixture
def backfill(indexes: Indexes) -> Iterator[Callable[[str], None]]:
    """Of a key that strangers have named."""

    def insert(rest: str) -> None:
        indexes.sql(
            "INSERT INTO s3_vectors.text_search_configurations"
            " (vector_index_id, metadata_key, analyzer_version, state, built_up_to, attempts, error, deletion_time)"
            f" VALUES (1, E'ti\\x1btle', 1, {rest})"
        )

    yield insert
    indexes.sql("DELETE FROM s3_vectors.text_search_configurations")


@pytest.fixture
def server_is_running(indexes: Indexes) -> Iterator[None]:
    with closing(psycopg.connect(indexes.url, autocommit=True)) as builder:
        builder.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        yield


BACKFILL = r"the backfill of 'ti\x1btle' of media/movies"


@pytest.mark.parametrize(
    ("row", "state", "found"),
    [
        ("'building', NULL, 0, NULL, NULL", "ok", f"{BACKFILL} is about to begin"),
        ("'building', 'k7', 0, NULL, NULL", "ok", f"{BACKFILL} has come to vector 'k7'"),
        (
            "'building', 'k7', 3, '53100: disk full', NULL",
            "warning",
            f"{BACKFILL} has failed 3 times: 53100: disk full",
        ),
        ("'active', 'k7', 0, NULL, NULL", "ok", "all are complete"),
        ("'deleted', 'k7', 3, '53100: disk full', now()", "ok", "all are complete"),
    ],
)
@pytest.mark.usefixtures("server_is_running")
def test_backfills_are_a_defect_when_they_fail(
    indexes: Indexes, backfill: Callable[[str], None], row: str, state: str, found: str
) -> None:
    backfill(row)
    told = findings(indexes)["text searches"]
    assert (told["state"], told["found"]) == (state, found)
    assert (told["change"] is not None) == (state != "ok")


def test_a_backfill_that_no_server_goes_on_with_is_told(indexes: Indexes, backfill: Callable[[str], None]) -> None:
    backfill("'building', 'k7', 0, NULL, NULL")
    told = findings(indexes)["text searches"]
    assert (told["state"], told["found"]) == ("warning", f"{BACKFILL} has not ended, and no server is running")
    assert told["change"].startswith("Start a server, ")


def test_a_backfill_of_a_deleted_index_is_of_no_interest(indexes: Indexes, backfill: Callable[[str], None]) -> None:
    backfill("'building', 'k7', 3, '53100: disk full', NULL")
    indexes.sql("UPDATE s3_vectors.vector_indexes SET deletion_time = now()")
    told = findings(indexes)["text searches"]
    indexes.sql("UPDATE s3_vectors.vector_indexes SET deletion_time = NULL")
    assert told["state"] == "ok"


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "The secrets in this database are under key-encryption key "),
        ("short", "PGS3VECTORS_KEY_ENCRYPTION_KEY must hold one or more keys"),
        ("", "Cannot read the key-encryption key: No such file or directory: "),
    ],
)
def test_without_the_right_key_encryption_key_there_is_an_error(
    indexes: Indexes, tmp_path: Path, key: str, found: str
) -> None:
    told = findings(indexes, KEY_ENCRYPTION_KEY=key, DATA_DIR=str(tmp_path))["key-encryption key"]
    assert (told["state"], told["found"][: len(found)]) == ("error", found)


def test_a_database_that_cannot_be_reached_is_an_error(indexes: Indexes) -> None:
    found = findings(indexes, DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert list(found) == ["database"]
    assert "Connection refused" in found["database"]["found"]


def test_a_transaction_that_lasts_holds_up_graphs(
    connection: psycopg.Connection, indexes: Indexes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LONG_TRANSACTION", "0 seconds")
    with psycopg.connect(indexes.url, application_name="reports") as other:
        other.execute("SELECT 1")
        told = [finding.found for finding in server.maintenance(connection) if finding.what == "transactions"]
        assert any(
            text.startswith(f"pid {other.info.backend_pid} (reports) has been in one for 0:00:") for text in told
        )


def test_how_many_huge_pages_would_be_of_use_is_told(connection: psycopg.Connection, indexes: Indexes) -> None:
    [(needed,)] = indexes.sql("SELECT current_setting('shared_memory_size_in_huge_pages')")
    change = f"Where searches must be faster, set vm.nr_hugepages to {needed} or more, and restart PostgreSQL."
    [told] = server.huge_pages(connection)
    # Whether this machine has them is not ours to say.
    assert told in (Finding.ok("huge_pages", "on"), Finding("huge_pages", State.OK, "off", change))


def test_indexes_that_are_deleted_and_not_dropped_are_told(connection: psycopg.Connection, indexes: Indexes) -> None:
    assert list(contents.deletions(connection)) == []
    indexes.sql("UPDATE s3_vectors.vector_indexes SET deletion_time = now() - interval '1 hour'")
    [told] = contents.deletions(connection)
    indexes.sql("UPDATE s3_vectors.vector_indexes SET deletion_time = NULL")
    assert (told.state, told.found) == (State.WARNING, "1 are still on disk")


def test_clocks_that_differ_are_told(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    [told] = server.clock(connection)
    assert told == Finding.ok("clock", "0.0 s between here and the database")
    monkeypatch.setattr(server, "time", SimpleNamespace(time=lambda: time.time() - 60))
    [told] = server.clock(connection)
    assert (told.state, told.found) == (State.WARNING, "60.0 s between here and the database")
