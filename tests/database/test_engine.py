"""What PostgreSQL says as the API says it, and connections that survive whoever leaves them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import sqlalchemy.exc
from pgvector import Vector

import app.database.connection
from app.database.catalog import Index
from app.database.engine import Database
from app.database.statements import Statement
from app.database.vector_table import StoredVector, upsert
from app.errors import (
    ConflictException,
    InternalServerException,
    NotFoundException,
    RequestTimeoutException,
    S3VectorsError,
    ServiceUnavailableException,
    ValidationException,
)
from tests.database.conftest import Library

Run = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def alone(database: Database) -> AsyncIterator[Run]:
    """A statement as the data plane runs it."""
    async with database.connection() as connection:

        async def run(statement: str) -> None:
            await connection.run(Statement(statement, {}))

        yield run


@asynccontextmanager
async def in_transaction(database: Database) -> AsyncIterator[Run]:
    """A statement as the control plane runs it."""
    async with database.transaction() as connection:

        async def run(statement: str) -> None:
            await connection.execute(sa.text(statement))

        yield run


Way = Callable[[Database], AbstractAsyncContextManager[Run]]
both_ways = pytest.mark.parametrize("way", [alone, in_transaction])


async def execute(database: Database, way: Way, statement: str) -> None:
    async with way(database) as run:
        await run(statement)


@both_ways
@pytest.mark.parametrize(
    ("states", "answer"),
    [
        (["23505"], ConflictException),
        (["57014", "25P03", "25P04"], RequestTimeoutException),
        (["53000", "53100", "53200", "53300", "53400"], ServiceUnavailableException),
        (["08006", "57P01", "57P02", "57P03", "57P04"], ServiceUnavailableException),
        (["25006", "40001", "40P01", "55P03"], ServiceUnavailableException),
        (["22000", "22003", "22021", "22P02", "22P05"], ValidationException),
        (["42P01", "42703", "42501", "54000", "54001", "58030", "XX000", "XX001", "P0001"], InternalServerException),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_states_become_errors_of_the_api(
    database: Database, way: Way, states: list[str], answer: type[S3VectorsError]
) -> None:
    for state in states:
        with pytest.raises(answer) as raised:
            await execute(database, way, f"DO $$ BEGIN RAISE 'of SQL' USING ERRCODE = '{state}'; END $$")
        assert "SQL" not in str(raised.value)
    await execute(database, way, "SELECT 1")


async def test_a_statement_that_cannot_be_sent_shows_no_values(database: Database) -> None:
    """Its exception comes with a traceback into the log."""
    both = sa.select(sa.bindparam("given", type_=sa.Text), sa.bindparam("forgotten", type_=sa.Text))
    with pytest.raises(sqlalchemy.exc.StatementError, match="forgotten") as told:
        async with database.transaction() as connection:
            await connection.execute(both, {"given": "a secret"})
    assert "a secret" not in str(told.value)


async def test_without_a_server_the_answer_is_to_try_again() -> None:
    database = Database("postgresql://127.0.0.1:1/none", pool_size=1, statement_timeout_seconds=1)
    await database.pool.open()
    database.pool.timeout = 0.1
    with pytest.raises(ServiceUnavailableException):
        await execute(database, alone, "SELECT 1")
    await database.close()


async def test_a_full_queue_is_the_server_s_and_no_fault_of_the_caller(database: Database) -> None:
    database.pool.max_waiting = 1
    async with alone(database), alone(database), alone(database), alone(database):
        waiting = asyncio.create_task(execute(database, alone, "SELECT 1"))
        await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailableException):
            await execute(database, alone, "SELECT 1")
    await waiting


async def test_an_index_that_was_dropped_meanwhile_is_not_found(database: Database, library: Library) -> None:
    index = await library.create_index(2)
    deleted = f"UPDATE s3_vectors.vector_indexes SET deletion_time = now() WHERE id = {index.id}"
    for statement in (deleted, f"DROP TABLE vectors.index_{index.id} CASCADE"):
        await execute(database, in_transaction, statement)
    with pytest.raises(NotFoundException):
        await execute(database, alone, f"SELECT FROM vectors.index_{index.id}")


async def test_a_table_that_is_missing_is_not_told_as_a_deleted_index(database: Database, library: Library) -> None:
    index = await library.create_index(2)
    await execute(database, in_transaction, f"DROP TABLE vectors.index_{index.id} CASCADE")
    with pytest.raises(InternalServerException):
        await execute(database, alone, f"SELECT FROM vectors.index_{index.id}")


@both_ways
async def test_a_missing_catalog_is_not_told_as_a_deleted_index(database: Database, way: Way) -> None:
    with pytest.raises(InternalServerException):
        await execute(database, way, "SELECT FROM s3_vectors.no_such_table")


@pytest.fixture
def administrator(own_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        yield connection


async def backend(administrator: psycopg.Connection[Any], condition: str) -> int:
    """Of the app's connections the one of which this is true, as soon as there is one."""
    found = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "
        + condition
    )
    while (row := administrator.execute(found.encode()).fetchone()) is None:  # noqa: ASYNC110 - PostgreSQL's state
        await asyncio.sleep(0.02)
    pid: int = row[0]
    return pid


@both_ways
async def test_a_backend_that_is_ended_in_a_write_leaves_it_to_be_tried_again(
    database: Database, administrator: psycopg.Connection[Any], way: Way
) -> None:
    for _ in range(2 * database.pool.max_size):
        writing = asyncio.create_task(execute(database, way, "SELECT pg_sleep(60)"))
        pid = await backend(administrator, "wait_event = 'PgSleep'")
        administrator.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(ServiceUnavailableException):
            await writing
    async with asyncio.timeout(30), way(database), way(database), way(database), way(database):
        pass


@both_ways
async def test_of_connections_that_a_restart_has_broken_one_fails(
    database: Database, administrator: psycopg.Connection[Any], way: Way
) -> None:
    async with way(database), way(database), way(database), way(database):
        pass
    administrator.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(ServiceUnavailableException):
        await execute(database, way, "SELECT 1")
    for _ in range(2 * database.pool.max_size):
        await execute(database, way, "SELECT 1")


@both_ways
async def test_whoever_is_cancelled_leaves_a_connection_that_others_can_use(
    database: Database, administrator: psycopg.Connection[Any], way: Way
) -> None:
    for _ in range(2 * database.pool.max_size):
        asleep = asyncio.create_task(execute(database, way, "SELECT pg_sleep(60)"))
        await backend(administrator, "wait_event = 'PgSleep'")
        asleep.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asleep
    async with asyncio.timeout(30):
        await asyncio.gather(*(execute(database, way, "SELECT 1") for _ in range(2 * database.pool.max_size)))
    assert database.pool.get_stats().get("connections_lost", 0) == 0


@both_ways
@pytest.mark.parametrize("times", [1, 2])
async def test_many_who_are_cancelled_at_any_moment_take_no_connection_with_them(
    database: Database, way: Way, times: int
) -> None:
    database.pool.max_waiting = 0  # no bound: psycopg counts the cancelled too, until a connection comes back
    for steps in range(60):
        tasks = [asyncio.create_task(execute(database, way, "SELECT 1")) for _ in range(8)]
        for _ in range(times):
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(30), alone(database), alone(database), alone(database), alone(database):
        pass


SLOW_COMMIT = """
CREATE TABLE vectors.noted (number int);
CREATE FUNCTION vectors.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON vectors.noted DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION vectors.wait();
GRANT ALL ON vectors.noted TO PUBLIC;
"""


async def test_a_commit_is_not_interrupted(database: Database, administrator: psycopg.Connection[Any]) -> None:
    administrator.execute(SLOW_COMMIT)
    writing = asyncio.create_task(execute(database, in_transaction, "INSERT INTO vectors.noted VALUES (1)"))
    await backend(administrator, "query = 'COMMIT' AND wait_event = 'PgSleep'")
    for _ in range(3):
        writing.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert administrator.execute("SELECT number FROM vectors.noted").fetchall() == [(1,)]
    await execute(database, in_transaction, "SELECT 1")


FAILING_COMMIT = """
CREATE TABLE vectors.refused (number int);
CREATE FUNCTION vectors.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE 'of SQL' USING ERRCODE = '53100'; END$$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON vectors.refused DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION vectors.refuse();
GRANT ALL ON vectors.refused TO PUBLIC;
"""


@both_ways
async def test_a_statement_that_is_done_until_its_commit_fails_has_failed(
    database: Database, administrator: psycopg.Connection[Any], way: Way
) -> None:
    """As where the disk of the write-ahead log is full."""
    administrator.execute(FAILING_COMMIT)
    with pytest.raises(ServiceUnavailableException):
        await execute(database, way, "INSERT INTO vectors.refused VALUES (1)")
    await execute(database, way, "SELECT 1")


async def test_a_commit_without_answer_is_neither_done_nor_refused(
    database: Database, administrator: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.database.connection, "COMMIT_SECONDS", 0.1)
    administrator.execute(SLOW_COMMIT)
    with pytest.raises(ServiceUnavailableException):
        await execute(database, in_transaction, "INSERT INTO vectors.noted VALUES (1)")
    await execute(database, in_transaction, "SELECT 1")


@pytest.fixture
def absent_standby(postgres: str) -> Iterator[None]:
    """All commits of this cluster wait for it."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        connection.execute("SELECT pg_reload_conf()")
        yield
        connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        connection.execute("SELECT pg_reload_conf()")


@both_ways
async def test_a_write_whose_wait_for_the_standby_was_cancelled_is_not_done(
    request: pytest.FixtureRequest, database: Database, administrator: psycopg.Connection[Any], way: Way
) -> None:
    administrator.execute("CREATE TABLE vectors.noted (number int); GRANT ALL ON vectors.noted TO PUBLIC")
    request.getfixturevalue("absent_standby")
    await asyncio.sleep(0.5)  # the checkpointer makes it known
    writing = asyncio.create_task(execute(database, way, "INSERT INTO vectors.noted VALUES (1)"))
    administrator.execute("SELECT pg_cancel_backend(%s)", [await backend(administrator, "wait_event = 'SyncRep'")])
    with pytest.raises(ServiceUnavailableException):
        await writing


@both_ways
async def test_a_connection_to_a_standby_is_given_up(database: Database, library: Library, way: Way) -> None:
    """Once the server that it leads to may not write any more, the next one looks for the primary."""
    await library.create_index(2)
    lent = [await database.pool.getconn() for _ in range(database.pool.max_size)]
    pids = {connection.info.backend_pid for connection in lent}
    for connection in lent:
        await connection.set_autocommit(True)
        await connection.execute("SET default_transaction_read_only = on")
        await database.pool.putconn(connection)
    given_up = 0
    async with asyncio.timeout(30):
        while given_up < len(lent):  # those that were made in the place of others come between
            given_up += await is_refused(database, way)
    for _ in lent:
        assert not await is_refused(database, way)
    async with database.connection() as connection:
        assert connection.info.backend_pid not in pids


async def is_refused(database: Database, way: Way) -> bool:
    try:
        await execute(database, way, "DELETE FROM s3_vectors.range_indexes")
    except ServiceUnavailableException:
        return True
    return False


async def test_a_write_that_ended_a_deadlock_is_made_again(
    database: Database, library: Library, administrator: psycopg.Connection[Any], own_database_url: str
) -> None:
    """Whoever begins to wait last finds it: that is the write, which a third keeps until the other waits for it."""
    index = await library.create_index(2)
    await put(database, index, "a", "b", "c")
    lock = f"SELECT FROM vectors.index_{index.id} WHERE key = '{{}}' FOR UPDATE".format
    with (
        psycopg.connect(own_database_url, options="-c deadlock_timeout=1h -c application_name=other") as other,
        psycopg.connect(own_database_url) as third,
    ):
        other.execute(lock("c").encode())
        third.execute(lock("b").encode())
        writing = asyncio.create_task(put(database, index, "a", "b", "c"))
        await backend(administrator, "wait_event_type = 'Lock'")
        waiting = asyncio.create_task(asyncio.to_thread(other.execute, lock("a").encode()))
        await backend(administrator, "wait_event_type = 'Lock' AND application_name = 'other'")
        third.rollback()
        await waiting
        other.rollback()
        await writing


async def put(database: Database, index: Index, *keys: str) -> None:
    vectors = [StoredVector(key, Vector([1, 1]), "{}", "{}") for key in keys]
    async with database.connection() as connection:
        await upsert(connection, index, vectors)


async def test_sessions_are_bounded_in_all_that_the_server_knows(database: Database) -> None:
    async with database.connection() as connection:
        names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
        expected = {"statement_timeout": "30s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s"}
        if connection.info.server_version >= 170000:
            names.append("transaction_timeout")
            expected["transaction_timeout"] = "1min"
        found = {name: (await connection.run(Statement(f"SHOW {name}", {})))[0][0] for name in names}
    assert found == expected


async def test_who_is_interrupted_leaves_no_session_that_is_taken_for_another(database: Database) -> None:
    """The setting is on its way when the request ends: it is said again rather than believed."""
    async with database.connection() as connection:
        await connection.use(work_mem="4MB")
        changing = asyncio.create_task(connection.use(work_mem="8MB"))
        await asyncio.sleep(0)
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
        await connection.use(work_mem="4MB")
        assert (await connection.run(Statement("SHOW work_mem", {})))[0][0] == "4MB"


async def test_a_session_becomes_again_what_it_was(database: Database) -> None:
    """Also if who changed it was interrupted, and does not know whether he did."""
    async with database.connection() as connection:
        show = Statement("SHOW work_mem", {})
        [(began_with,)] = await connection.run(show)
        await connection.use(work_mem=None)
        await connection.use(work_mem="8MB")
        assert (await connection.run(show))[0][0] == "8MB"
        await connection.use(work_mem=None)
        assert (await connection.run(show))[0][0] == began_with
        changing = asyncio.create_task(connection.use(work_mem="8MB"))
        await asyncio.sleep(0)
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
        await connection.use(work_mem=None)
        assert (await connection.run(show))[0][0] == began_with
