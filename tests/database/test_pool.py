import asyncio
from contextlib import AsyncExitStack

import pytest

from app.database.connection import Connection
from app.database.engine import Database
from app.database.statements import Statement


async def lent_once(database: Database) -> Connection:
    async with database.connection() as connection:
        return connection


async def lent_at_once(database: Database, number: int) -> list[Connection]:
    async with AsyncExitStack() as stack:
        return [await stack.enter_async_context(database.connection()) for _ in range(number)]


async def test_the_connection_that_came_back_last_is_lent_first(database: Database) -> None:
    """Of many, so few are used as there are requests at once."""
    first, *_ = await lent_at_once(database, 3)
    assert [await lent_once(database) for _ in range(5)] == [first] * 5


async def test_whoever_waits_gets_the_connection_that_comes_back(database: Database) -> None:
    size = database.pool.max_size
    async with AsyncExitStack() as stack:
        lent = [await stack.enter_async_context(database.connection()) for _ in range(size)]
        waiting = asyncio.create_task(lent_once(database))
        while not database.pool.get_stats()["requests_waiting"]:  # noqa: ASYNC110 - the pool's state
            await asyncio.sleep(0)
        assert not database.pool.take_back(lent[0])
    assert await waiting in lent
    assert database.pool.get_stats()["pool_available"] == size


async def test_a_connection_comes_back_once(database: Database) -> None:
    connection = await lent_once(database)
    with pytest.raises(ValueError, match="doesn't come from any pool"):
        await database.pool.putconn(connection)
    assert not database.pool.take_back(connection)


async def test_one_that_has_served_its_time_is_closed(database: Database) -> None:
    async with database.connection() as connection:
        connection._expire_at = 0  # noqa: SLF001 - as after an hour
    assert connection.closed
    assert await lent_once(database) is not connection


async def test_one_whose_transaction_was_left_open_is_rolled_back(database: Database) -> None:
    async with database.connection() as connection:
        await connection.run(Statement("BEGIN", {}))
    assert connection.info.transaction_status == 0
    assert await lent_once(database) is connection


async def test_what_is_not_used_for_long_is_closed(database: Database) -> None:
    """As psycopg counts it: how many were never lent since it last looked."""
    await lent_at_once(database, 3)
    await database.pool._shrink_pool()  # noqa: SLF001 - every ten minutes
    await lent_once(database)
    await database.pool._shrink_pool()  # noqa: SLF001 - every ten minutes
    assert database.pool.get_stats()["pool_size"] == 2


async def test_each_time_that_one_is_lent_is_counted(database: Database) -> None:
    database.pool.pop_stats()
    for _ in range(3):
        await lent_once(database)
    assert database.pool.pop_stats()["requests_num"] == 3
